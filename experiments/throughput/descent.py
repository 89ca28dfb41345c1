"""How fast descent directions are, against optax.contrib.muon's, and how exact."""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree
from rich.console import Console
from rich.table import Table

import optim
from experiments.throughput.measure import Side, compare
from geometry import SVD, NewtonSchulz, PolarExpress, PolarMethod
from workloads.transformer import Transformer

SHAPES = ((64, 128), (256, 256), (256, 1024), (1024, 1024))
METHODS: Mapping[str, PolarMethod] = MappingProxyType(
    {
        "SVD": SVD(),
        "Newton–Schulz, 5 steps": NewtonSchulz(5),
        "Polar Express, 5 steps": PolarExpress(5),
        "Polar Express, 8 steps": PolarExpress(8),
    }
)
OPTAX = "optax's Newton–Schulz"
LOW_RANK_SIDE, RANK_FRACTION = 1024, 1 / 8
LAYERS, WIDTHS = 12, (32, 128)
FLOPS_A_CALL = 2e10  # a call repeats small problems until it does about this much work


def report_descent(repeats: int, console: Console) -> None:
    """Print time and accuracy of polar factors, low-rank and batched updates, and compile times."""
    console.print(polar_table(repeats))
    table = Table("update", "ms", "against", "its ms", "times faster [interval]")
    for ours, theirs, row in update_comparisons(repeats):
        faster = f"{row.ratio:.2f}× [{row.interval[0]:.2f}, {row.interval[1]:.2f}]"
        table.add_row(ours, f"{1e3 / row.ours:.2f}", theirs, f"{1e3 / row.baseline:.2f}", faster)
    console.print(table)
    table = Table(f"update of a {LAYERS}-layer transformer of width 768", "s to compile")
    for name, seconds in compile_seconds().items():
        table.add_row(name, f"{seconds:.1f}")
    console.print(table)


def polar_table(repeats: int) -> Table:
    """Every method on Gaussian matrices of every shape: time, speed against optax's default, and error."""
    table = Table("matrix", "method", "ms", "× optax", "singular values", "RMS of σ² - 1")
    for rows, columns in SHAPES:
        gradient = jax.random.normal(jax.random.key(0), (rows, columns))
        count = max(1, round(FLOPS_A_CALL / (30 * min(rows, columns) ** 2 * max(rows, columns))))
        theirs = optax.contrib.scale_by_muon(beta=0.0, nesterov=False)
        incumbent = _updates(theirs, gradient, count)
        shape = f"{rows}×{columns}"
        for name, method in METHODS.items():
            ours = optax.chain(optim.scale_by_momentum(0.0), optim.scale_by_polar(method))
            row = compare(name, _updates(ours, gradient, count), incumbent, repeats)
            table.add_row(shape, name, f"{1e3 / row.ours:.2f}", f"{row.ratio:.2f}", *_error(ours, gradient))
            shape = ""
        table.add_row(shape, OPTAX, f"{1e3 / row.baseline:.2f}", "1.00", *_error(theirs, gradient))
    return table


def update_comparisons(repeats: int):
    """(ours, theirs, comparison) of whole updates: a low-rank one, and that of a transformer's matrices."""
    muon, theirs = optim.muon(0.02), optax.contrib.muon(0.02)
    orth_dion = optim.orth_dion(0.02, rank_fraction=RANK_FRACTION)
    square = {"kernel": jax.random.normal(jax.random.key(0), (LOW_RANK_SIDE, LOW_RANK_SIDE))}
    size = f"{LOW_RANK_SIDE}×{LOW_RANK_SIDE}"
    low_rank = _updates(orth_dion, square, 5)
    name = f"orth_dion, rank {RANK_FRACTION:g}, {size}"
    yield name, "optax.contrib.muon", compare("", low_rank, _updates(theirs, square, 1), repeats)
    yield "the same", "muon", compare("", low_rank, _updates(muon, square, 1), repeats)
    for width in WIDTHS:
        layers = transformer_matrices(width)
        count = 3 * (max(WIDTHS) // width)
        name = f"muon, {LAYERS}-layer transformer of width {width}, equal matrices together"
        batched, separate = _updates(muon, layers, count), _updates(leaf_by_leaf(layers), layers, count)
        yield name, "leaf by leaf", compare("", batched, separate, repeats)
        optax_updates = _updates(theirs, layers, count)
        yield "the same", "optax.contrib.muon", compare("", batched, optax_updates, repeats)


def transformer_matrices(width: int) -> dict[str, dict[str, Array]]:
    """The hidden matrices of a transformer, as random gradients of them."""
    shapes = {
        "qkv": (width, 3 * width),
        "out": (width, width),
        "up": (width, 4 * width),
        "down": (4 * width, width),
    }
    keys = iter(jax.random.split(jax.random.key(0), LAYERS * len(shapes)))
    return {
        f"block_{layer}": {
            name: {"kernel": jax.random.normal(next(keys), shape)} for name, shape in shapes.items()
        }
        for layer in range(LAYERS)
    }


def leaf_by_leaf(params: PyTree) -> optax.GradientTransformation:
    """Our muon with a transformation of its own for each leaf, so that nothing is joined."""
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    labels = jax.tree.unflatten(jax.tree.structure(params), paths)
    return optax.partition({path: optim.muon(0.02) for path in paths}, labels)


def compile_seconds() -> dict[str, float]:
    """Seconds to trace and compile the update of a whole transformer of the size of GPT-2 small."""
    model = Transformer(num_tokens=50_304, context=1024, width=768, layers=LAYERS, heads=12)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8), jnp.uint8))
    optimizers = {
        "muon": optim.muon(0.02),
        "dion": optim.dion(0.02),
        "orth_dion": optim.orth_dion(0.02),
        "optax.contrib.muon": optax.contrib.muon(0.02),
    }
    seconds = {}
    for name, tx in optimizers.items():
        state = jax.eval_shape(tx.init, shapes)
        begun = time.perf_counter()
        jax.jit(tx.update).lower(shapes, state, shapes).compile()
        seconds[name] = time.perf_counter() - begun
    return seconds


def _updates(tx: optax.GradientTransformation, gradients: PyTree, count: int) -> Side:
    """A call that makes `count` updates of one compiled program."""
    state = jax.jit(tx.init)(gradients)
    update = jax.jit(tx.update)

    def call():
        current = state
        for _ in range(count):
            updates, current = update(gradients, current, gradients)
        return updates, current

    return Side(call, count)


def _error(tx: optax.GradientTransformation, gradient: Array) -> Sequence[str]:
    updates, _ = jax.jit(tx.update)(gradient, tx.init(gradient))
    sigma = np.linalg.svd(np.asarray(updates, np.float64), compute_uv=False)
    return f"[{sigma.min():.3f}, {sigma.max():.3f}]", f"{np.sqrt(np.mean((sigma**2 - 1) ** 2)):.1e}"
