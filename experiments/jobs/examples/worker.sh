#!/bin/sh
# Run trials one after the other until the search is finished:
#
#     sh worker.sh FOLDER WORKER COMMAND …
#
# COMMAND gets a trial, a line of JSON, on its standard input, and prints the value and nothing else: nan or
# inf where the run diverged. Start as many workers as there is room for, on any host that sees the folder, each
# with a name of its own. With STALE=8 a worker takes over what another one has had for eight hours.

folder=$1 worker=$2 refused=
shift 2
while :; do
    trial=$(steepest ask "$folder" --worker "$worker" ${STALE:+--stale "$STALE"})
    case $? in
        0) ;;
        3) sleep "${PAUSE:-10}"; continue ;;  # others' trials are to be told first
        4) exit 0 ;;
        *) exit 1 ;;
    esac
    id=${trial#*\"id\": \"}
    id=${id%%\"*}
    [ "$id" != "$refused" ] || exit 1  # a value that is no number would be refused again and again
    if value=$(printf '%s\n' "$trial" | "$@"); then
        case $value in
            nan | inf) steepest tell "$folder" "$id" --diverged ;;
            *) steepest tell "$folder" "$id" "$value" ;;
        esac
    else
        steepest tell "$folder" "$id" --failed
    fi || refused=$id
done
