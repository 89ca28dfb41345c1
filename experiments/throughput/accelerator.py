"""What an accelerator does here, in at most eight minutes: `python -m experiments.throughput.accelerator`.

Speeds are ratios of two sides timed in turn. `--miniature` runs all of it on a laptop's CPU in seconds, to
see that it works.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import optim
from experiments.throughput.measure import Comparison, compare, compiled_run, steps_side, sweep_side
from experiments.throughput.memory import Setting, measure
from experiments.throughput.muon import factors_side, rms_error
from experiments.throughput.training import images, tokens
from geometry import NewtonSchulz, PolarExpress, PolarMethod
from workloads import Workload
from workloads.images import MLP
from workloads.training import Optimizer
from workloads.transformer import Size

METHODS: dict[str, PolarMethod] = {
    "Polar Express, float32": PolarExpress(5),
    "Polar Express, bfloat16": PolarExpress(5, jnp.bfloat16),
    "Newton–Schulz, float32": NewtonSchulz(5),
    "Newton–Schulz, bfloat16": NewtonSchulz(5, dtype=jnp.bfloat16),
}
OPTIMIZERS: dict[str, Optimizer] = {"muon": optim.muon, "AdamW": optax.adamw}


class Scale(NamedTuple):
    """How large everything is.

    Attributes:
      shapes: of the matrices.
      transformer: its size, with `num_tokens` tokens, `batch` blocks a step.
      side_by_side: runs of a sweep on each device at once.
      steps: of a run, of an MLP with `units` hidden units.
      repeats: of each comparison.
    """

    shapes: tuple[tuple[int, int], ...]
    transformer: Size
    num_tokens: int
    batch: int
    side_by_side: tuple[int, ...]
    steps: int
    units: int
    repeats: int


FULL = Scale(
    shapes=((512, 512), (512, 2048), (1024, 4096), (2048, 2048), (4096, 4096), (8192, 8192)),
    transformer=Size(768, 12, 12, 1024),
    num_tokens=50_304,
    batch=8,
    side_by_side=(1, 8, 64, 256),
    steps=500,
    units=128,
    repeats=9,
)
MINIATURE = Scale(((8, 16),), Size(8, 1, 2, 4), 5, 2, (2,), 4, 4, repeats=1)


def report(scale: Scale, console: Console) -> None:
    """Print every table."""
    console.print(polar_table(scale))
    console.print(step_table(scale))
    console.print(sweep_table(scale))
    console.print(memory_table(scale))
    same = "the same bits as" if resumed_is_the_same(scale) else "OTHER BITS than"
    console.print(f"A run that is taken up again half way has {same} one in a single piece.")


def polar_table(scale: Scale) -> Table:
    """Time of polar factors against optax's, and the RMS of σ² - 1 over all singular values."""
    table = Table("matrix", "method", "ms", "× optax [interval]", "RMS of σ² - 1", "optax's")
    theirs = optax.contrib.scale_by_muon(beta=0.0, nesterov=False)
    for shape in scale.shapes:
        matrix = jax.random.normal(jax.random.key(0), shape)

        @jax.jit
        def incumbent(x):
            return theirs.update(x, theirs.init(x))[0]

        their_error = f"{rms_error(incumbent(matrix)):.2g}"
        for name, method in METHODS.items():
            factor = jax.jit(method.factor)
            row = compare(name, factors_side(factor, matrix), factors_side(incumbent, matrix), scale.repeats)
            errors = (f"{rms_error(factor(matrix)):.2g}", their_error)
            table.add_row("×".join(map(str, shape)), name, f"{1e3 / row.ours:.3g}", _ratio(row), *errors)
    return table


def step_table(scale: Scale) -> Table:
    """A whole training step of the transformer."""
    workload = tokens(scale.num_tokens, scale.transformer)
    sides = {name: steps_side(workload, tx, scale.batch) for name, tx in OPTIMIZERS.items()}
    row = compare("muon", *sides.values(), scale.repeats)
    table = Table("a training step", "ms", "AdamW's ms", "AdamW's / muon's [interval]")
    table.add_row("muon", f"{1e3 / row.ours:.3g}", f"{1e3 / row.baseline:.3g}", _ratio(row))
    return table


def sweep_table(scale: Scale) -> Table:
    """Runs a second of a sweep, by how many a device computes side by side, against one at a time."""
    table = Table("runs side by side", "runs/s", "one at a time, runs/s", "times faster [interval]")
    workload = _network(scale)
    for width in scale.side_by_side:
        runs = jax.device_count() * max(scale.side_by_side)
        rates = jnp.full((runs, scale.steps), 1e-3)
        sides = (sweep_side(workload, optax.adam, rates, 64, vectorize) for vectorize in (width, 1))
        row = compare("", *sides, scale.repeats)
        table.add_row(str(width), f"{row.ours:.3g}", f"{row.baseline:.3g}", _ratio(row))
    return table


def memory_table(scale: Scale) -> Table:
    """Bytes that are planned for a sweep, and those that it takes at most."""
    table = Table("runs side by side", "planned, MB", "peak, MB", "planned / peak")
    for width in scale.side_by_side:
        measured = measure(Setting("network", lambda: _network(scale), 64, width))
        planned, peak = (f"{1e-6 * size:,.1f}" for size in (measured.planned, measured.peak))
        table.add_row(str(width), planned, peak, f"{measured.planned / max(measured.peak, 1):.2f}")
    return table


def resumed_is_the_same(scale: Scale) -> bool:
    """Whether a run that goes through the host's memory half way ends with the same bits."""
    workload = _network(scale)
    begin, advance = compiled_run(workload, optim.muon, 64, scale.steps)
    whole = advance(workload.data, begin(workload.data), 0, scale.steps)
    half = advance(workload.data, begin(workload.data), 0, scale.steps // 2)
    moved = jax.tree.map(jnp.asarray, jax.device_get(half))
    resumed = advance(workload.data, moved, scale.steps // 2, scale.steps)
    pairs = zip(jax.tree.leaves(whole.params), jax.tree.leaves(resumed.params), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _network(scale: Scale) -> Workload:
    return images(MLP(10, (scale.units,)), 8, 8, 1)


def _ratio(row: Comparison) -> str:
    return f"{row.ratio:.2f} [{row.interval[0]:.2f}, {row.interval[1]:.2f}]"


def main(arguments: Sequence[str]) -> None:
    if unknown := set(arguments) - {"--miniature"}:
        raise SystemExit(f"the one option is --miniature, got {' '.join(sorted(unknown))}")
    console = Console(width=110)
    console.print(f"{jax.device_count()} {jax.devices()[0].device_kind}")
    report(MINIATURE if "--miniature" in arguments else FULL, console)


if __name__ == "__main__":
    main(sys.argv[1:])
