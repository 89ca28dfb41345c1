"""The command line of the speed measurements."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import jax
import tyro
from rich.console import Console

from experiments.study.checks import EACH_ONCE, Checked, Count, entries
from experiments.study.choices import StudyError
from experiments.study.devices import keep_compiled_programs, one_device_per_core
from experiments.throughput.batches import report_batches
from experiments.throughput.descent import report_descent
from experiments.throughput.memory import report_memory
from experiments.throughput.noise import report_noise
from experiments.throughput.sweeps import report_sweeps
from experiments.throughput.training import report_training

REPORTS = {
    "sweeps": report_sweeps,
    "descent": report_descent,
    "noise": report_noise,
    "batches": report_batches,
    "training": report_training,
    "memory": report_memory,
}
Subject = Literal["sweeps", "descent", "noise", "batches", "training", "memory"]


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """Measure speeds as ratios: sweeps to Python loops, descent directions to optax's, training steps that
    measure gradient noise to steps that do not, steps on accumulated batches whose size is data to plain
    steps, training of every workload to the GEMM peak; and what sweeps take of the memory, to what is
    planned."""

    subjects: Annotated[tuple[Subject, ...], entries(1), EACH_ONCE] = tuple(REPORTS)
    """What to measure."""
    repeats: Count = 9
    """Alternating repeats of each comparison; medians are reported, of updates with the interval."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    one_device_per_core()
    keep_compiled_programs()
    console = Console(width=None if sys.stdout.isatty() else 110)
    try:
        options = tyro.cli(Options, prog="python -m experiments.throughput", args=arguments)
    except StudyError as error:
        console.print(f"error: {error}", markup=False)
        return 2
    console.print(
        f"{len(jax.devices())} {jax.default_backend()} devices, medians of {options.repeats} repeats"
    )
    for subject in options.subjects:
        REPORTS[subject](options.repeats, console)
    return 0
