"""Progress: what is counted, at what speed, and what is printed where there is no terminal."""

import io

import pytest
from rich.console import Console

from experiments.study.running import progress as progress_module
from experiments.study.running.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told to go on."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def recorder(**options):
    return Console(file=io.StringIO(), width=100, **options)


def lines(console):
    return console.file.getvalue().splitlines()


def test_speed_is_of_this_session_and_time_left_of_the_whole(clock):
    console = recorder()
    with Progress(1000, console) as progress:
        progress.begin("screen", done=300, remaining=500)
        clock.now += 20
        progress.advance(100)  # 5 runs/s; 1000 - 400 are left
    assert lines(console) == ["screen: 400/1,000 runs, 5 runs/s, 2:00 left"]


def test_a_line_is_printed_every_ten_seconds_and_at_the_end(clock):
    console = recorder()
    with Progress(40, console) as progress:
        progress.begin("screen", done=0, remaining=30)
        for _ in range(6):
            clock.now += 4
            progress.advance(5)
        progress.begin("confirm", done=0, remaining=10)
        clock.now += 1
        progress.advance(10)
    assert [line.split(",")[0] for line in lines(console)] == [
        "screen: 15/40 runs",
        "screen: 30/40 runs",
        "confirm: 40/40 runs",
    ]
    assert lines(console)[-1].endswith("0:00 left")


def test_runs_beyond_the_plan_move_the_total(clock):
    console = recorder()
    with Progress(10, console) as progress:
        progress.begin("screen", done=0, remaining=10)
        clock.now += 1
        progress.advance(10)
        progress.begin("screen", done=2, remaining=28)  # a grid was extended
        clock.now += 11
        progress.advance(12)
    assert lines(console) == [
        "screen: 10/10 runs, 10 runs/s, 0:00 left",
        "screen: 24/40 runs, 2 runs/s, 0:08 left",
    ]


def test_a_terminal_gets_a_bar_with_the_same_numbers(clock):
    console = recorder(force_terminal=True, color_system=None)
    with Progress(1000, console) as progress:
        progress.begin("select", done=300, remaining=500)
        clock.now += 20
        progress.advance(100)
    last = console.file.getvalue().split("select")[-1]
    assert "400/1,000 runs" in last
    assert "5 runs/s" in last
    assert "2:00 left" in last


def test_a_quiet_progress_prints_nothing(clock):
    console = recorder()
    with Progress(10, console, quiet=True) as progress:
        progress.begin("screen", done=0, remaining=10)
        clock.now += 60
        progress.advance(10)
    assert lines(console) == []
