"""What Muon costs: its polar factor beside optax's at equal error, and its training step beside AdamW's.

All in processor time.
"""

import itertools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from rich.console import Console
from rich.table import Table

import optim
from experiments.throughput.measure import Side, compare, steps_side
from experiments.throughput.training import Setting, step_flops, tokens
from geometry import PolarExpress
from geometry.precision import full_product, widened
from optim.flops import matrix_flops
from workloads.transformer import Size

STACKS = (  # matrices, rows, columns
    (1, 64, 128),
    (1, 128, 128),
    (24, 128, 128),
    (1, 256, 256),
    (1, 256, 1024),
    (1, 512, 512),
    (1, 1024, 1024),
)
FLOPS_A_CALL = 4e9  # a call repeats small problems until it does about this much work
TRANSFORMER, BATCH = Size(width=128, layers=12, heads=8, context=256), 32
STEP = Setting("transformer of width 128, 12 layers, 8,192 tokens", lambda: tokens(84, TRANSFORMER), BATCH, 1)


def report_muon(repeats: int, console: Console) -> None:
    """Print both tables."""
    console.print(polar_table(repeats))
    console.print(step_table(repeats))


def polar_table(repeats: int) -> Table:
    """Polar Express with as few steps as are as exact as optax's default: speed, and both errors."""
    table = Table("matrices", "steps", "CPU ms", "times optax's speed [interval]", "RMS of σ² - 1", "optax's")
    sides = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    theirs = optax.contrib.scale_by_muon(beta=0.0, nesterov=False, weight_dimension_numbers=sides)

    @jax.jit
    def incumbent(stack):
        return theirs.update(stack, theirs.init(stack))[0]

    for shape in STACKS:
        stack = jax.random.normal(jax.random.key(0), shape)
        their_error = rms_error(incumbent(stack))
        method, error = as_exact(stack, their_error)
        count = max(1, round(FLOPS_A_CALL / (30 * stack.size * min(shape[1:]))))
        ours, baseline = (factors_side(f, stack, count) for f in (jax.jit(method.factor), incumbent))
        row = compare("", ours, baseline, repeats, clock=time.process_time)
        faster = f"{row.ratio:.2f} [{row.interval[0]:.2f}, {row.interval[1]:.2f}]"
        cells = (str(method.steps), f"{1e3 / row.ours:.3g}", faster, f"{error:.2f}", f"{their_error:.2f}")
        table.add_row("×".join(map(str, shape)), *cells)
    return table


def factors_side(function: Callable[[Array], Array], matrices: Array, count: int = 5) -> Side:
    """A call that computes the factors so often."""
    return Side(lambda: [function(matrices) for _ in range(count)], count)


def as_exact(stack: Float[Array, "matrices rows columns"], bound: float) -> tuple[PolarExpress, float]:
    """Polar Express with the fewest steps whose error is at most the bound, and that error."""
    methods = map(PolarExpress, itertools.count(1))
    errors = ((method, rms_error(jax.jit(method.factor)(stack))) for method in methods)
    return next((method, error) for method, error in errors if error <= bound)


def rms_error(factors: Float[Array, "*matrices rows columns"]) -> float:
    """√(mean (σ² - 1)²) = ‖QQᵀ - I‖_F/√m of wide Q."""
    wide = widened(factors)
    gram = full_product(wide, wide.mT)
    identity = jnp.broadcast_to(jnp.eye(gram.shape[-1]), gram.shape)
    return float(jnp.sqrt(jnp.mean(jnp.sum((gram - identity) ** 2, axis=-1))))


def step_table(repeats: int) -> Table:
    """A whole training step on one device, and which share of its FLOPs the polar factors are."""
    workload = STEP.make()
    muon, adamw = (steps_side(workload, tx, STEP.batch_size, STEP.steps) for tx in (optim.muon, optax.adamw))
    row = compare("", muon, adamw, repeats, clock=time.process_time)
    params = jax.eval_shape(workload.init, jax.random.key(0))
    tx = optim.muon(0.02)
    factors = matrix_flops(tx.update, params, jax.eval_shape(tx.init, params))
    high, low = (1 / ratio for ratio in row.interval)
    table = Table(
        "a training step with muon", "CPU ms", "AdamW's", "times AdamW's [interval]", "FLOPs of polar"
    )
    table.add_row(
        STEP.name,
        f"{1e3 / row.ours:.3g}",
        f"{1e3 / row.baseline:.3g}",
        f"{1 / row.ratio:.3f} [{low:.3f}, {high:.3f}]",
        f"{factors / (factors + step_flops(STEP)):.1%}",
    )
    return table
