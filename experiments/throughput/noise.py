"""What it costs to measure gradient noise scales: a training step with the measurement over one without."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from rich.console import Console
from rich.table import Table

import workloads
from experiments.throughput.measure import Side, compare
from geometry import EUCLIDEAN, SIGN, SPECTRAL, Geometry, Moments
from optim.routing import BY_NAME

PARTS = 8
RARELY = 100  # steps


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
            step, cost = _cost(setting, geometries, 1, 4, repeats)
            table.add_row(name, f"{1e3 * step:.1f}", scales, "step", f"{cost:.3f}×")
            name = ""
        step, cost = _cost(setting, MEASURED["all"], RARELY, RARELY, repeats)
        table.add_row(name, f"{1e3 * step:.1f}", "all", f"{RARELY} steps", f"{cost:.3f}×")
    console.print(table)


def _cost(
    setting: Setting, geometries: tuple[Geometry, ...], every: int, steps: int, repeats: int
) -> tuple[float, float]:
    """Seconds of a step that accumulates the same parts without measuring, and how many times that
    measuring takes."""
    row = compare("", _run(setting, geometries, every, steps), _run(setting, (), 1, steps), repeats)
    return 1 / row.baseline, 1 / row.ratio


def _run(setting: Setting, geometries: tuple[Geometry, ...], every: int, steps: int) -> Side:
    """A call that trains for a few steps, each batch in PARTS parts."""
    workload = workloads.load(setting.workload, **setting.options)

    def measure(params, state, batch, part_gradients, key):
        moments = Moments.of(part_gradients, BY_NAME.optional_view if SPECTRAL in geometries else None)
        return {
            geometry.name: moments.estimate(setting.batch_size, geometry).value for geometry in geometries
        }

    @jax.jit
    def train(learning_rates, key, data):
        run = workloads.train(
            workload,
            data,
            optax.adam,
            learning_rates,
            workloads.run_keys(key),
            batch_size=setting.batch_size,
            parts=PARTS,
            probe=measure if geometries else None,
            probe_every=every,
            evaluate_at=(0,),
        )
        return run.params, run.probes  # and not the metrics, so that nothing is evaluated

    arguments = jnp.full(steps, 1e-3), jax.random.key(0), workload.data
    return Side(lambda: train(*arguments), steps)
