"""Ctrl-C and SIGTERM: met after the chunk, told at once, a second one at once, and never swallowed."""

import contextlib
import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments.shape_search import STUDY, main
from experiments.study.options.errors import StudyError
from experiments.study.running.stopping import Stopped, StopRequest
from tests.experiments.processes import ROOT, started

CHUNK = 7
ASKED = "Stopping after this chunk"
ENDED = "Stopped. The same command resumes."
FAR = 60  # seconds until a test gives up on what must happen at once
pytestmark = [pytest.mark.usefixtures("listening"), pytest.mark.xdist_group("finished")]
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)

BUSY = """
import signal
import time
from experiments.study.running.entry import ended
from experiments.study.running.stopping import StopRequest

def command():
    with StopRequest(lambda message: print(message, flush=True)):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # of this thread alone
        print("begun", flush=True)
        time.sleep(1e6)
ended(command)
"""
IMPORTING = """
import sys
from experiments.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def ending(process):
    """The process, which is killed where a test waits for it in vain."""
    timer = threading.Timer(FAR, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        process.kill()


def eventually(holds):
    """Wait for what other threads and processes bring about."""
    deadline = time.monotonic() + FAR
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def send(number):
    os.kill(os.getpid(), number)


@BOTH
@pytest.mark.usefixtures("no_report")
def test_a_signal_is_answered_at_once_and_ends_the_study_after_the_chunk(
    tmp_path, command_options, journal_rows, at_call, number
):
    output, handlers = (
        io.StringIO(),
        {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
    )
    arguments = [*command_options(), "--folder", str(tmp_path / "study"), "--chunk-runs", str(CHUNK)]

    def interrupt():
        send(number)
        eventually(lambda: ASKED in output.getvalue())  # while the chunk is still to be computed

    at_call(4, interrupt)
    with contextlib.redirect_stdout(output):
        assert main(arguments) == 128 + number
    assert output.getvalue().splitlines()[-1] == ENDED
    assert 4 * 4 < len(journal_rows(tmp_path / "study")) <= 5 * CHUNK  # the chunk was ended and recorded
    assert not (tmp_path / "study" / "winners.json").exists()
    assert {number: signal.getsignal(number) for number in handlers} == handlers


@pytest.mark.usefixtures("no_report")
def test_a_signal_inside_a_callback_that_swallows_exceptions_is_not_lost(
    tmp_path, command_options, at_call, capsys
):
    """Python calls those of garbage collection so, and JAX has one."""
    calls = []

    def callback(phase, information):
        if not calls:
            calls.append(phase)
            send(signal.SIGINT)

    def collect():
        gc.callbacks.append(callback)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(callback)

    at_call(1, collect)
    assert main([*command_options(), "--folder", str(tmp_path / "study"), "--chunk-runs", "7"]) == 130
    assert calls
    assert ENDED in capsys.readouterr().out


@pytest.mark.usefixtures("no_report")
def test_a_stopped_python_call_raises_and_leaves_a_folder_that_resumes(
    tmp_path, finished, tiny_config, journal_rows, at_call
):
    kept = [0]
    for number in (0, 3):  # stopped once more: `test_faults` goes on to the end
        at_call(number, lambda: send(signal.SIGINT))
        with pytest.raises(Stopped):
            STUDY.run(tiny_config(), tmp_path, chunk_runs=CHUNK)
        rows = journal_rows(tmp_path)
        assert rows.items() <= journal_rows(finished.folder).items()
        kept.append(len(rows))
    assert kept == sorted(set(kept))


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_study_keeps_to_one_device_or_to_several(
    tmp_path, tiny_config, journal_rows, at_call, first, second
):
    at_call(1, lambda: send(signal.SIGINT))
    with pytest.raises(Stopped):
        STUDY.run(tiny_config(), tmp_path, devices=first, chunk_runs=10)
    rows, names = journal_rows(tmp_path), {1: "one", 2: "several"}
    with pytest.raises(StudyError, match="with one device, or with several of any number") as error:
        STUDY.run(tiny_config(), tmp_path, devices=second)
    assert f"devices: '{names[first]}' there, '{names[second]}' asked for" in str(error.value)
    assert journal_rows(tmp_path) == rows


def test_a_second_interrupt_of_a_python_call_is_the_caller_s():
    """A notebook must outlive it."""
    heard = []
    with StopRequest(heard.append) as stop:
        send(signal.SIGINT)
        eventually(lambda: stop.received and heard)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert stop.received == signal.SIGINT
    assert len(heard) == 1


def test_a_study_inside_another_shares_its_request_and_leaves_it_listening():
    with StopRequest(lambda message: None) as outer:
        with StopRequest(lambda message: None) as inner:
            assert inner is outer
        send(signal.SIGTERM)
        eventually(lambda: outer.received == signal.SIGTERM)


def test_signals_that_are_ignored_stay_so():
    """As behind nohup, or in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest(lambda message: None) as stop:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        send(signal.SIGINT)
        send(signal.SIGTERM)
        eventually(lambda: stop.received)
        assert stop.received == signal.SIGTERM


def test_no_listener_is_left_behind():
    threads = set(threading.enumerate())
    with StopRequest(lambda message: None):
        assert len(set(threading.enumerate()) - threads) == 1
    eventually(lambda: not set(threading.enumerate()) - threads)
    assert signal.set_wakeup_fd(-1) == -1


@BOTH
def test_a_second_signal_ends_the_process_at_once(number):
    """Although the main thread does not come back to Python, as while XLA compiles."""
    busy = started(BUSY)
    with ending(busy.process):
        assert busy.stdout.readline() == "begun\n"
        os.kill(busy.process.pid, number)
        assert ASKED in busy.stdout.readline()
        os.kill(busy.process.pid, number)
        assert busy.ended()[0] == 128 + number


@pytest.mark.parametrize("study", ["shape_search", "throughput", "endurance", "doctor"])
def test_an_interrupt_during_imports_is_a_line_and_no_traceback(tmp_path, study):
    """A module of JAX's name stands for one whose import takes long."""
    (tmp_path / "jax.py").write_text("print('importing', flush=True)\nimport time\nwhile True: time.sleep(1)")
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTING, study],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process, ending(process):
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert (process.returncode, output) == (130, "Stopped.\n")
