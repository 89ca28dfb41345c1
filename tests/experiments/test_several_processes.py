"""A study in two processes: what each is told, the same results, and a lost process."""

import contextlib
import io
import os
import re
import signal
import sqlite3
import time

import pytest
from rich.console import Console

from experiments.shape_search import main
from experiments.study.options.errors import StudyError
from experiments.study.running.processes import Cluster, free_address, from_all, from_first
from tests.experiments.processes import KILLED_SEARCH, PATIENCE, started

TRANSPORT = "Gloo|peer ranks"  # of what it prints, its threads may break a line
RUNG = {"rung_replicates": (2,), "rung_horizons": (1.0,)}
ONE_PROGRAM = {"families": ("constant",), "strategy": "sobol", "candidates": 32, "batch": 8, **RUNG}
SEARCH = """
import sys
from matplotlib.figure import Figure
from experiments.__main__ import main
Figure.savefig = lambda figure, file, **options: file.write(b"unpainted")
sys.exit(main(["shape_search", *sys.argv[1:]]))
"""
EXCHANGE = """
import sys
import jax
from rich.console import Console
from experiments.study.options.errors import StudyError
from experiments.study.running.processes import Cluster, from_all, from_first, is_first
Cluster(sys.argv[1], 2, int(sys.argv[2])).join(Console())
assert is_first() == (jax.process_index() == 0 == int(sys.argv[2]))
print(from_first(lambda: (jax.process_index(), b"x" * 1000)) == (0, b"x" * 1000))
print(from_all([jax.process_index(), 2**32 - 1]).tolist())
def refuse():
    raise StudyError(f"refused by {jax.process_index()}")
try:
    from_first(refuse)
except StudyError as error:
    print(error)
"""


def start_both(words, devices):
    """Two processes of `words(the address where they meet, the number of each)`."""
    address = free_address()
    return [started(*words(address, str(number)), devices=devices) for number in range(2)]


def outputs(processes):
    """The exit status of each, what it printed, and its errors; without what the transport of collectives
    says of itself."""
    ended = [process.ended() for process in processes]
    return [
        [status, "\n".join(line for line in output.splitlines() if not re.search(TRANSPORT, line)), errors]
        for status, output, errors in ended
    ]


def test_all_processes_get_what_the_first_made_and_what_each_has():
    printed = outputs(start_both(lambda *place: [EXCHANGE, *place], devices=1))
    assert [status for status, *_ in printed] == [0, 0], printed
    expected = ["True", "[[0, 4294967295], [1, 4294967295]]", "refused by 0"]
    assert [output.splitlines() for _, output, _ in printed] == [expected, expected]


def test_one_process_needs_no_other():
    assert from_first(lambda: 3) == 3
    assert from_all([7]).tolist() == [[7]]
    Cluster().join(Console(file=io.StringIO()))


@pytest.mark.parametrize(
    ("cluster", "environment", "expected"),
    [
        (Cluster(), {}, []),
        (Cluster("auto"), {}, []),
        (Cluster("host:80", 2, 1), {}, []),
        (Cluster("h:1"), {"NUM_PROCESSES": "2", "PROCESS_ID": "1"}, []),
        (Cluster(num_processes=2), {}, ["num_processes: it needs coordinator"]),
        (Cluster(process_id=0), {}, ["process_id: it needs coordinator"]),
        (Cluster(), {"NUM_PROCESSES": "2"}, ["num_processes: it needs coordinator"]),
        (Cluster(), {"PROCESS_ID": "0"}, ["process_id: it needs coordinator"]),
        (Cluster("auto", num_processes=2), {}, ["num_processes: with coordinator auto"]),
        (Cluster("auto", process_id=7), {}, ["process_id: with coordinator auto"]),
        (Cluster("auto"), {"PROCESS_ID": "1"}, ["process_id: with coordinator auto"]),
        (Cluster("h:1"), {}, ["num_processes: needed", "process_id: needed"]),
        (Cluster("h:1", process_id=0), {}, ["num_processes: needed beside coordinator"]),
        (Cluster("h:1", 2), {"PROCESS_ID": "one"}, ["process_id: "]),
        (Cluster("h:1", 0, 0), {}, ["num_processes: "]),
        (Cluster("h:0", 0, 5), {}, ["coordinator: ", "num_processes: "]),
        (Cluster("h:1", 2, 2), {}, ["process_id: must be in [0, 2), got 2"]),
        (Cluster("h:1"), {"NUM_PROCESSES": "2", "PROCESS_ID": "-1"}, ["process_id: must be in [0, 2)"]),
        (Cluster("host", 2, 1), {}, ["coordinator: must be HOST:PORT"]),
        (Cluster("h:99999", 2, 0), {}, ["coordinator: must be"]),
        (Cluster("", 2, 1), {"COORDINATOR_ADDRESS": "h:1"}, ["coordinator: must be HOST:PORT"]),
        (Cluster(), {"COORDINATOR_ADDRESS": "h:1"}, ["num_processes: needed", "process_id: needed"]),
    ],
)
def test_a_place_that_is_not_known_or_would_be_ignored_is_refused_by_its_field(
    monkeypatch, cluster, environment, expected
):
    for name in ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID"):
        monkeypatch.delenv(f"JAX_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(f"JAX_{name}", value)
    problems = cluster.problems()
    assert len(problems) == len(expected)
    assert all(line.startswith(start) for line, start in zip(problems, expected, strict=True)), problems
    if expected:
        with pytest.raises(StudyError, match=f"^{re.escape(expected[0])}"):
            cluster.join(Console(file=io.StringIO()))


def rows_so_far(folder):
    with contextlib.suppress(sqlite3.Error):  # not made yet, or in the middle of a transaction
        connection = sqlite3.connect(f"file:{folder}/journal.sqlite?mode=ro", uri=True)
        with contextlib.closing(connection):
            return connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0]
    return 0


@pytest.mark.usefixtures("listening")
def test_an_interrupt_of_one_process_ends_all_after_the_chunk(tmp_path, command_options, journal_rows):
    options = [*command_options(**ONE_PROGRAM), "--folder", str(tmp_path), "--chunk-runs", "8"]

    def words(address, number):
        place = ["--coordinator", address, "--num-processes", "2", "--process-id", number]
        return [SEARCH, *options, *place]

    processes = start_both(words, devices=4)
    deadline = time.monotonic() + PATIENCE
    while rows_so_far(tmp_path) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(processes[1].process.pid, signal.SIGINT)
    printed = outputs(processes)
    assert [status for status, *_ in printed] == [130, 130], printed
    assert printed[0][1].splitlines()[-1] == "Stopped. The same command resumes."
    assert printed[1][1] == ""
    assert len(journal_rows(tmp_path)) % 8 == 0  # whole chunks
    assert not (tmp_path / "winners.json").exists()


def test_a_study_that_lost_a_process_resumes_and_ends_as_in_one(tmp_path, command_options, journal_rows):
    options = command_options(**ONE_PROGRAM)
    assert main([*options, "--folder", str(tmp_path / "alone")]) == 0
    place = ["--folder", str(tmp_path / "study"), "--chunk-runs", "8", "--num-processes", "2"]

    def words(address, number, program=(SEARCH,)):
        return [*program, *options, *place, "--coordinator", address, "--process-id", number]

    def words_with_a_kill(address, number):
        killed = [(KILLED_SEARCH, "20", "0.001")] if number == "0" else []
        return words(address, number, *killed)

    (first, *_), (second, *_) = outputs(start_both(words_with_a_kill, devices=4))
    assert first == -signal.SIGPROF
    assert second != 0
    kept = journal_rows(tmp_path / "study")
    expected = journal_rows(tmp_path / "alone")
    assert 20 <= len(kept) < len(expected)
    assert all(expected[identity] == row for identity, row in kept.items())
    assert not (tmp_path / "study" / "winners.json").exists()
    printed = outputs(start_both(words, devices=4))
    assert [status for status, *_ in printed] == [0, 0], printed
    assert not list((tmp_path / "study").glob(".*"))
    assert printed[1][1] == ""  # the first alone speaks
    assert journal_rows(tmp_path / "study") == expected
    winners = (tmp_path / "study" / "winners.json").read_bytes()
    assert winners == (tmp_path / "alone" / "winners.json").read_bytes()
