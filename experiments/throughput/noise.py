"""What it costs to measure gradient noise scales, and to accumulate a batch whose size is data."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from rich.console import Console
from rich.table import Table

import optim
import workloads
from experiments.throughput.measure import Side, compare
from geometry import EUCLIDEAN, SIGN, SPECTRAL, Geometry, Moments
from optim.routing import BY_NAME
from workloads.training import Optimizer

PARTS = 8
RARELY = 100  # steps
MULTIPLES = (1, 4, 16)  # micro-batches in a batch
MICROBATCHES = 16  # a call
OWN_PARTS = 2  # of a micro-batch that makes a batch by itself, for its noise


class Setting(NamedTuple):
    """A model in training: a workload with its options, and the examples in a step."""

    workload: str
    options: Mapping[str, int | str]
    batch_size: int
    name: str


SETTINGS = (
    Setting(
        "shakespeare",
        MappingProxyType({"width": 128, "layers": 2, "heads": 4, "context": 128}),
        32,
        "transformer of width 128, 4,096 tokens",
    ),
    Setting("digits", MappingProxyType({"model": "cnn"}), 64, "digits CNN, 64 images"),
)
MEASURED: Mapping[str, tuple[Geometry, ...]] = MappingProxyType(
    {"Euclidean and sign": (EUCLIDEAN, SIGN), "spectral": (SPECTRAL,), "all": (EUCLIDEAN, SIGN, SPECTRAL)}
)


def report_noise(repeats: int, console: Console) -> None:
    """Print the cost of every scale on every setting."""
    table = Table("step", "ms", "scales", "measured every", "time, as a ratio")
    for setting in SETTINGS:
        name = setting.name
        for scales, geometries in MEASURED.items():
            step, cost = _noise_cost(setting, geometries, 1, 4, repeats)
            table.add_row(name, f"{1e3 * step:.1f}", scales, "step", f"{cost:.3f}×")
            name = ""
        step, cost = _noise_cost(setting, MEASURED["all"], RARELY, RARELY, repeats)
        table.add_row(name, f"{1e3 * step:.1f}", "all", f"{RARELY} steps", f"{cost:.3f}×")
    console.print(table)


def report_batches(repeats: int, console: Console) -> None:
    """Print the cost of a step at k times the batch over k plain steps, of batches that are not measured."""
    table = Table("step", "ms", *(f"{k} × the batch" for k in MULTIPLES))
    for setting in SETTINGS:
        rows = [_batch_cost(setting, multiple, repeats) for multiple in MULTIPLES]
        table.add_row(setting.name, f"{1e3 * rows[0][0]:.1f}", *(f"{cost:.3f}×" for _, cost in rows))
    console.print(table)


def _noise_cost(
    setting: Setting, geometries: tuple[Geometry, ...], every: int, steps: int, repeats: int
) -> tuple[float, float]:
    """Seconds of a step that accumulates the same parts without measuring, and how many times that
    measuring takes."""

    def measure(params, state, batch, part_gradients, key):
        moments = Moments.of(part_gradients, BY_NAME.optional_view if SPECTRAL in geometries else None)
        return {
            geometry.name: moments.estimate(setting.batch_size, geometry).value for geometry in geometries
        }

    measured = _run(setting, steps, parts=PARTS, probe=measure, probe_every=every)
    return _cost(measured, _run(setting, steps, parts=PARTS), repeats)


def _batch_cost(setting: Setting, multiple: int, repeats: int) -> tuple[float, float]:
    """Seconds of a plain step, and how many times k of them a step at k times the batch takes."""
    batch_size = multiple * setting.batch_size
    controller = optim.BatchController(
        SPECTRAL, batch_size, batch_size, quantum=setting.batch_size, every=2 * MICROBATCHES
    )

    def adaptive(schedule):
        return optim.adaptive_batch(optax.adam, schedule, controller, microbatch_size=setting.batch_size)

    accumulated = _run(setting, MICROBATCHES, adaptive, parts=OWN_PARTS if multiple == 1 else 1)
    return _cost(accumulated, _run(setting, MICROBATCHES), repeats)


def _cost(side: Side, plain: Side, repeats: int) -> tuple[float, float]:
    """Seconds of a plain step, and how many times that the other side's takes."""
    row = compare("", side, plain, repeats)
    return 1 / row.baseline, 1 / row.ratio


def _run(setting: Setting, steps: int, optimizer: Optimizer = optax.adam, **options: Any) -> Side:
    """A call that trains for a few steps."""
    workload = workloads.load(setting.workload, **setting.options)

    @jax.jit
    def train(learning_rates, key, data):
        run = workloads.train(
            workload,
            data,
            optimizer,
            learning_rates,
            workloads.run_keys(key),
            batch_size=setting.batch_size,
            evaluate_at=(0,),
            **options,
        )
        return run.params, run.probes  # and not the metrics, so that nothing is evaluated

    arguments = jnp.full(steps, 1e-3), jax.random.key(0), workload.data
    return Side(lambda: train(*arguments), steps)
