"""How much faster a sweep of training runs is on several devices of the host than on one."""

import functools
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.endurance.apart import forkserver
from experiments.endurance.measuring import Bar, range_text, show_bars
from experiments.study.options.checks import EACH_ONCE, Checked, Count, entries
from experiments.study.options.errors import StudyError
from experiments.study.running.devices import keep_compiled_programs, one_device_per_core
from experiments.study.running.stopping import follow_parent
from experiments.throughput import training
from experiments.throughput.measure import Side

MIN_EFFICIENCY = 0.9
ROUNDS = {  # by the setting of `experiments.throughput.training`, the runs that each device makes in a call
    "digits MLP 64-128-10": 32,
    "digits CNN": 8,
    "transformer, width 64, 2 layers, context 64": 4,
}


class Scaled(NamedTuple):
    """Runs per second by number of devices, a value a repeat."""

    setting: str
    speeds: Mapping[int, list[float]]

    def efficiencies(self, devices: int) -> list[float]:
        """Runs per second over those of as many single devices, by repeat."""
        return [
            many / (devices * single)
            for many, single in zip(self.speeds[devices], self.speeds[1], strict=True)
        ]


@dataclass(frozen=True)
class Scaling(Checked):
    """Train the same sweep on one device on one core, and on two, four and so on as there are cores, and
    compare the runs per second."""

    repeats: Count = 9
    """Alternating repeats; medians and ranges are told."""
    settings: Annotated[tuple[Literal[tuple(ROUNDS)], ...], entries(1), EACH_ONCE] = tuple(ROUNDS)
    """What is trained."""

    def report(self, console: Console) -> bool:
        """Print speeds and efficiencies; returns whether all bars held."""
        cores = len(os.sched_getaffinity(0))
        counts = [2**power for power in range(cores.bit_length())]
        if len(counts) == 1:
            raise StudyError("This process may use one core alone, on which nothing scales.")
        scaled = list(measure(self.settings, counts, self.repeats))
        console.print(_table(scaled))
        return show_bars((_bar(pair, count) for pair in scaled for count in counts[1:]), console)


def measure(settings: tuple[str, ...], counts: list[int], repeats: int) -> Iterator[Scaled]:
    """Each setting on each number of devices in turn, in processes of their own, pinned to as many cores."""
    with ExitStack() as stack:
        pools = {
            count: stack.enter_context(
                ProcessPoolExecutor(1, mp_context=forkserver(), initializer=_pin, initargs=(count,))
            )
            for count in counts
        }
        for setting in settings:
            for pool in pools.values():
                pool.submit(runs_per_second, setting).result()  # compiles
            speeds: dict[int, list[float]] = {count: [] for count in counts}
            for _ in range(repeats):
                for count, pool in pools.items():
                    speeds[count].append(pool.submit(runs_per_second, setting).result())
            yield Scaled(setting, speeds)


def runs_per_second(setting: str) -> float:
    """Of one sweep on all devices of this process."""
    side = _side(setting)
    begun = time.perf_counter()
    jax.block_until_ready(side.call())
    return side.runs / (time.perf_counter() - begun)


@functools.cache
def _side(name: str) -> Side:
    (setting,) = (setting for setting in training.SETTINGS if setting.name == name)
    return training.side(setting, ROUNDS[name])


def _pin(cores: int) -> None:
    """Give this process so many cores, each of them a device."""
    follow_parent()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    jax.config.update("jax_platforms", "cpu")
    one_device_per_core()
    keep_compiled_programs()


def _bar(scaled: Scaled, devices: int) -> Bar:
    found = scaled.efficiencies(devices)
    return Bar(
        f"{scaled.setting}: {devices} devices are at least {MIN_EFFICIENCY:.0%} of {devices} × one device",
        range_text([100 * efficiency for efficiency in found], ".1f", " %"),
        float(np.median(found)) >= MIN_EFFICIENCY,
    )


def _table(scaled: list[Scaled]) -> Table:
    counts = list(scaled[0].speeds)
    table = Table("training with Adam", *(f"runs/s on {count}" for count in counts))
    for pair in scaled:
        table.add_row(pair.setting, *(range_text(pair.speeds[count], ",.1f") for count in counts))
    return table
