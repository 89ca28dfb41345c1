"""A short sweep of linear regression over the devices, against its expected loss in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import workloads
from experiments.doctor.oracles import Oracle

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
