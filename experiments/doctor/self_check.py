"""The self-check: what the code finds here against what is stored, within ten seconds."""

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import workloads
from experiments.doctor.findings import Finding, probed
from experiments.doctor.oracles import FIGURES, Oracle
from experiments.doctor.room import existing_part
from experiments.study.storage.checkpoints import Checkpoints
from experiments.study.storage.journal import Journal, Row

ROWS = [
    Row(("doctor", "cosine", 0, "{}", 0), 0.1, {"warmup": 0.1}, 0.3, {"train_loss": 0.3}, 0.5),
    Row(("doctor", "cosine", 0, "{}", 1), 1e-30, {"warmup": 1 / 3}, float("inf"), {"train_loss": 1e300}, 0.5),
]
# a short sweep of linear regression, against its expected loss in closed form
DIMENSION, BATCH_SIZE = 3, 1
SPECTRUM = (6 / 11, 3 / 11, 2 / 11)  # λ ∝ 1/k
LEARNING_RATE, STEPS = 0.5, 5
RUNS = 2048
ROUND_OFF = 1e-5  # of some thirty operations of float32, a few of which subtract
# where the kernel is diagonal, a step multiplies z of the one example that is drawn, each with a probability
# of 1/3, by 1 - 3ηλ
EXPECTED_LOSS = sum(
    (2 / 3 + (1 - DIMENSION * LEARNING_RATE * eigenvalue) ** 2 / 3) ** STEPS for eigenvalue in SPECTRUM
) / (2 * DIMENSION)


def _differing_rows(folder: Path) -> int:
    with tempfile.TemporaryDirectory(dir=existing_part(folder), prefix=".doctor-") as temporary:
        path = Path(temporary) / "journal.sqlite"
        with Journal(path) as journal:
            journal.record(ROWS)
        with Journal(path) as journal:
            read = journal.rows("doctor")
    return sum(row != recorded for row, recorded in itertools.zip_longest(read, ROWS))


def _differing_leaves(folder: Path) -> int:
    saved = {
        "params": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
        "momentum": np.full((2, 3), -1 / 3, jnp.bfloat16),
        "step": np.int32(12_345),
        "key": np.asarray(jax.random.key_data(jax.random.key(7))),
    }
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
    with tempfile.TemporaryDirectory(dir=existing_part(folder), prefix=".doctor-") as temporary:
        checkpoints = Checkpoints(Path(temporary) / "checkpoints")
        checkpoints.save(12_345, "doctor", saved)
        found, _ = checkpoints.newest("doctor", shapes)
    if found is None:
        return len(saved)
    return sum(leaf.tobytes() != found.saved[name].tobytes() for name, leaf in saved.items())


def round_trips(folder: Path) -> tuple[Oracle, ...]:
    """A journal and a checkpoint written where the folder is or would be, and read again; nothing is left."""
    return (
        Oracle("journal", "rows that come back different", lambda: _differing_rows(folder), (0,), 0),
        Oracle("checkpoint", "arrays that come back different", lambda: _differing_leaves(folder), (0,), 0),
    )


def _run(row, root):
    workload = workloads.load("linear_regression", dimension=DIMENSION)
    keys = workloads.run_keys(row["key"])
    run = workloads.train(workload, root, optax.sgd, row["rates"], keys, batch_size=BATCH_SIZE)
    return run.metrics["train_loss"][-1]


def losses(num_devices: int | None = None) -> Float[Array, "runs"]:
    """The final loss of every run; over all devices when None."""
    inputs = {
        "rates": jnp.full((RUNS, STEPS), LEARNING_RATE),
        "key": jax.random.split(jax.random.key(0), RUNS),
    }
    mesh = workloads.run_mesh(num_devices)
    root = jnp.diag(jnp.sqrt(jnp.array(SPECTRUM)))
    return workloads.sweep(_run, inputs, root, mesh=mesh)


def _z_score() -> float:
    found = np.asarray(losses(), np.float64)
    return (found.mean() - EXPECTED_LOSS) / (found.std(ddof=1) / np.sqrt(RUNS))


def _difference() -> float:
    """One device and several are two programs of XLA's, which agree to round-off."""
    everywhere, single = (np.asarray(losses(count), np.float64) for count in (None, 1))
    return np.sum(np.abs(everywhere - single)) / np.sum(single)


SWEEPS = (
    Oracle(
        "sweep over all devices",
        f"z-score of {RUNS:,} runs to Σ (2/3 + (1 - 3λ/2)²/3)^5 / 2D",
        _z_score,
        (0,),
        4,
    ),
    Oracle("the same over one device", "how far they are off, relative", _difference, (0,), ROUND_OFF),
)


def look(folder: Path) -> Iterator[Finding]:
    """A finding for each stored oracle; the files are written on the disk where studies would be."""
    for oracle in (*FIGURES, *SWEEPS, *round_trips(folder)):
        yield from probed(oracle.name, lambda oracle=oracle: [checked(oracle)])


def checked(oracle: Oracle) -> Finding:
    """What the code finds, in full precision of matrix products, and how long it takes to.

    >>> checked(Oracle("half", "by hand", lambda: 0.75, (0.5,), 0.1)).found
    'by hand: 0.75, where 0.5 ± 0.1 is expected'
    """
    begun = time.perf_counter()
    with jax.default_matmul_precision("highest"):
        found = np.ravel(np.asarray(oracle.compute(), np.float64))
    seconds = time.perf_counter() - begun
    expected = np.asarray(oracle.expected, np.float64)
    failing = ~(np.abs(found - expected) <= oracle.tolerance)  # what is not a number is off too
    if not failing.any():
        figure = f": {found[0]:.4g}" if len(found) == 1 else ""
        return Finding(oracle.name, f"{oracle.derivation}{figure} ({seconds:.1f} s)")
    first = np.argmax(failing)
    expectation = f"{expected[first]:.7g} ± {oracle.tolerance:g} is expected"
    return Finding(oracle.name, f"{oracle.derivation}: {found[first]:.7g}, where {expectation}", stops=True)
