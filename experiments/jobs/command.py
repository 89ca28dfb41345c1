"""The command lines of jobs folders: `steepest jobs create FOLDER …`, `steepest ask FOLDER`, and so on.

Imports no JAX where it only records or reads.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from experiments.jobs.folder import Jobs, open_jobs
from experiments.study.options.errors import StudyError, choice_problem, repetition_problems
from experiments.study.running.entry import ended

GIVEN, REFUSED, WAITING, FINISHED = 0, 2, 3, 4  # exit statuses
METRIC = "NAME=VALUE"
PARAMS = "of the family, second_NAME of a second shape, and the ratio of two groups; of a CSV that alone"
WIDTH = 150  # of what is printed to a file


def main(words: Sequence[str]) -> int:
    """Run the command named first; returns the exit status. What is wrong goes to the standard error."""
    return ended(lambda: _main(*words[:1], words[1:]))


def _main(word: str, words: Sequence[str]) -> int:
    try:
        if problems := repetition_problems(words):
            raise StudyError("\n".join(problems))
        return COMMANDS[word](words)
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED


def _create(words: Sequence[str]) -> int:
    problem = choice_problem("jobs", words[0] if words else "", ["create"])
    if problem:
        raise StudyError(f"{problem} What comes after it: {', '.join(sorted(COMMANDS.keys() - {'jobs'}))}.")
    from experiments.jobs.creation_command import create

    return create(words[1:])


def _ask(words: Sequence[str]) -> int:
    parser = _parser("ask", "Print the next trial to run, a line of JSON, and write it to trials/ID.json.")
    parser.add_argument("--count", type=int, default=1, help="so many trials, a line each")
    parser.add_argument("--worker", help="who asks: it gets back what it has and did not tell")
    parser.add_argument("--stale", type=float, metavar="HOURS", help="take over what others have for longer")
    options = parser.parse_args(words)
    if options.count < 1:
        raise StudyError(f"count: must be at least 1, got {options.count}.")
    jobs = open_jobs(options.folder)
    asked = jobs.ask_several(options.count, options.worker, options.stale)
    for trial in asked:
        print(trial.line())
    return GIVEN if asked else _nothing_to_ask(jobs)


def _nothing_to_ask(jobs: Jobs) -> int:
    state = jobs.status()
    if state.finished:
        print(f"Finished: steepest report {jobs.path}", file=sys.stderr)
        return FINISHED
    print(f"All is asked for, and {len(state.pending)} trials are pending.", file=sys.stderr)
    return WAITING


def _tell(words: Sequence[str]) -> int:
    parser = _parser("tell", "Record what came of a trial. The same once more changes nothing.")
    parser.add_argument("trial", metavar="ID")
    parser.add_argument("value", type=float, nargs="?", metavar="VALUE", help="of the metric")
    parser.add_argument("--sem", type=float, help="the standard error of the value, where it is a mean")
    parser.add_argument("--step", type=int, help="the value is that after so many steps, not yet all")
    parser.add_argument("--metrics", nargs="+", type=_metric, default=[], metavar=METRIC, help="others")
    parser.add_argument("--failed", action="store_true", help="it came to no end: it is asked for again")
    parser.add_argument("--diverged", action="store_true", help="the loss is NaN or infinite")
    parser.add_argument("--replace", action="store_true", help="correct what was told before")
    options = vars(parser.parse_args([_as_value(word) for word in words]))
    options["metrics"] = dict(options["metrics"])
    open_jobs(options.pop("folder")).tell(**options)
    return GIVEN


def _status(words: Sequence[str]) -> int:
    from experiments.jobs.status import status_lines

    parser = _parser("status", "What was asked for and told so far.")
    parser.add_argument("--json", action="store_true", help="all of it, as JSON")
    options = parser.parse_args(words)
    for line in status_lines(open_jobs(options.folder).status(), options.json):
        print(line)
    return GIVEN


def _report(words: Sequence[str]) -> int:
    options = _parser("report", "Write report.html and winners.json, and print what they tell.").parse_args(
        words
    )
    from experiments.jobs.report import report_jobs
    from experiments.study.showing.findings import show
    from experiments.study.showing.terminal import Terminal
    from experiments.study.storage.folder import StudyFolder

    show(report_jobs(options.folder), StudyFolder(options.folder), Terminal(WIDTH))
    return GIVEN


def _import(words: Sequence[str]) -> int:
    parser = _parser("import", "Let the search learn from runs that were made before.")
    parser.add_argument("files", nargs="+", metavar="[METRIC=]CSV", help="METRIC where it is TensorBoard's")
    parser.add_argument(
        "--rate",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="of the learning rates, one for each group; lr and the like by itself",
    )
    parser.add_argument("--score", metavar="COLUMN", help="of the score; the metric's name by itself")
    options = parser.parse_args(words)
    jobs = open_jobs(options.folder)
    from experiments.jobs.additions import import_runs

    new = import_runs(jobs, options.files, options.rate, options.score)
    print(f"{new} runs imported, {len(jobs.status().imported)} in all.")
    return GIVEN


def _add(words: Sequence[str]) -> int:
    parser = _parser("add", "Let a schedule of your own be tried: it is asked for like any other trial.")
    shape = parser.add_mutually_exclusive_group(required=True)
    shape.add_argument("--schedule", type=Path, metavar="CSV", help="a learning rate a line, for every step")
    shape.add_argument("--family", help="one of those that are searched")
    parser.add_argument("--params", nargs="+", type=_metric, default=[], metavar=METRIC, help=PARAMS)
    parser.add_argument("--base-lr", type=float, help="the largest learning rate; of a CSV, its own")
    options = parser.parse_args(words)
    jobs = open_jobs(options.folder)
    from experiments.jobs.additions import add_schedule, add_shape

    if options.schedule:
        name = add_schedule(jobs, options.schedule, dict(options.params), options.base_lr)
    elif options.base_lr is None:
        raise StudyError("base_lr: needed beside a family.")
    else:
        name = add_shape(jobs, options.family, dict(options.params), options.base_lr)
    print(f"{name} is added.")
    return GIVEN


def _parser(word: str, description: str) -> argparse.ArgumentParser:
    # not tyro: a worker calls these thousands of times
    parser = argparse.ArgumentParser(prog=f"steepest {word}", description=description, allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="that of steepest jobs create")
    return parser


def _metric(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not {METRIC}")
    return name, float(value)


def _as_value(word: str) -> str:
    """A negative number that argparse does not take for an option."""
    try:
        float(word)
    except ValueError:
        return word
    return f" {word}" if word.startswith("-") else word


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "jobs": _create,
    "ask": _ask,
    "tell": _tell,
    "status": _status,
    "report": _report,
    "import": _import,
    "add": _add,
}
