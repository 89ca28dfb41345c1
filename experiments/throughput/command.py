"""The command line of the speed measurements."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import jax
from rich.console import Console

from experiments.study.command import tell_unused, told
from experiments.study.options.checks import EACH_ONCE, Checked, Count, entries
from experiments.study.options.pairs import parsed
from experiments.study.running.devices import keep_compiled_programs, one_device_per_core, started_devices
from experiments.throughput.descent import report_descent
from experiments.throughput.memory import report_memory
from experiments.throughput.muon import report_muon
from experiments.throughput.noise import report_batches, report_noise
from experiments.throughput.sweeps import report_sweeps
from experiments.throughput.training import report_training

REPORTS = {
    "sweeps": report_sweeps,
    "descent": report_descent,
    "muon": report_muon,
    "noise": report_noise,
    "batches": report_batches,
    "training": report_training,
    "memory": report_memory,
}
Subject = Literal["sweeps", "descent", "muon", "noise", "batches", "training", "memory"]


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """Measure speeds as ratios: sweeps to Python loops, descent directions to optax's, training steps with
    Muon to AdamW's, training steps that measure gradient noise to steps that do not, steps on accumulated
    batches whose size is data to plain steps, training of every workload to the GEMM peak; and what sweeps
    take of the memory, to what is planned."""

    subjects: Annotated[tuple[Subject, ...], entries(1), EACH_ONCE] = tuple(REPORTS)
    """What to measure."""
    repeats: Count = 9
    """Alternating repeats of each comparison; medians are reported, of updates with the interval."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""

    words = sys.argv[1:] if arguments is None else list(arguments)

    def command(console: Console) -> None:
        one_device_per_core()
        keep_compiled_programs()
        options = parsed(Options, words, prog="steepest throughput")
        devices = started_devices()
        if options.subjects == ("memory",):
            tell_unused([("repeats", "a peak is measured once")], words, console)
        console.print(f"{len(devices)} {jax.default_backend()} devices, medians of {options.repeats} repeats")
        for subject in options.subjects:
            REPORTS[subject](options.repeats, console)

    return told(command, width=110)
