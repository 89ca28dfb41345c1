"""What the code must find, stored: figures from closed forms, or computed once by NumPy and SciPy in float64.

None of them comes from the code that is checked. Each is written as its derivation where that is short.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import geometry
import optim
import workloads
from schedules import FAMILIES
from workloads import Workload
from workloads.linear_regression import exact_losses, expected_losses
from workloads.training import Optimizer


class Oracle(NamedTuple):
    """A figure, or several, that the code must find.

    Attributes:
      name: what is computed.
      derivation: where the figures come from.
      compute: the code that is checked.
      expected: the figures, in the order of the flattened result.
      tolerance: how far each of them may be off; 0 asks for equality.
    """

    name: str
    derivation: str
    compute: Callable[[], ArrayLike]
    expected: Sequence[float]
    tolerance: float


def _schedule(name: str, derivation: str, expected: Sequence[float], family: str, **params: float) -> Oracle:
    def multipliers() -> Float[Array, "steps"]:
        return FAMILIES[family].multipliers(params, num_steps=8)

    return Oracle(f"{name} schedule", derivation, multipliers, expected, 1e-6)


# with a warm-up over a quarter of eight steps; then v, what remains, is 1, 5/6, …, 1/6
COSINE = (0, 1 / 2, 1, 1 / 2 + 3**0.5 / 4, 3 / 4, 1 / 2, 1 / 4, 1 / 2 - 3**0.5 / 4)
REX = (0, 1 / 2, 1, 10 / 11, 4 / 5, 2 / 3, 1 / 2, 2 / 7)
WSD = (0, 1 / 2, 1, 1, 1, 1, 7 / 10, 4 / 10)
SPLINE = (0, 1 / 2, 1, 0.9645969498910676, 0.8736383442265795, 3 / 4, 0.5130718954248367, 1 / 4)
POINTS = {"x0": 0.25, "y1": 0.75, "dx1": 0.5, "dx2": 0.5, "dy2": 0.5}
FALL = "1, then from 1 to 1/10 as v falls from 1/2 to 0"
SCHEDULES = (
    _schedule("cosine", "sin²(πv/2)", COSINE, "cosine", warmup=0.25),
    _schedule("REX", "v / (v + β(1 - v)) with β = 1/2", REX, "rex", warmup=0.25, beta=0.5),
    _schedule("WSD", FALL, WSD, "wsd", warmup=0.25, decay=0.5, floor=0.1),
    _schedule("two-point spline", "SciPy's PchipInterpolator", SPLINE, "two_point_spline", **POINTS),
)

# U diag(3, 3/2) Vᵀ; U has the columns (1, 2, 2)/3 and (2, 1, -2)/3, V is the rotation with cosine 3/5
MATRIX = ((-0.2, 1.4), (0.8, 1.9), (2.0, 1.0))
POLAR_FACTOR = (-1 / 3, 2 / 3, 0.4 / 3, 2.2 / 3, 2.8 / 3, 0.4 / 3)  # U Vᵀ


def _polar_factor(name: str, derivation: str, method: geometry.PolarMethod) -> Oracle:
    def factor() -> Float[Array, "rows columns"]:
        return jax.jit(lambda matrix: geometry.polar(matrix, method))(jnp.array(MATRIX))

    return Oracle(f"polar factor by {name}", derivation, factor, POLAR_FACTOR, 1e-5)


POLAR_FACTORS = (
    _polar_factor("SVD", "U Vᵀ of a matrix made as U Σ Vᵀ", geometry.SVD()),
    _polar_factor("Polar Express", "the same", geometry.PolarExpress(steps=10)),
)

# ½‖W - T‖² in three steps
START, TARGET, RATES = ((1.0, -2.0), (0.5, 3.0)), ((0.0, 1.0), (-1.0, 0.5)), (0.1, 0.2, 0.05)
QUADRATIC = Workload(
    data=TARGET,
    init=lambda key: {"kernel": jnp.array(START)},
    indices=lambda key, batch_size, num_steps: jnp.zeros((num_steps, batch_size), jnp.int32),
    batch=lambda target, indices: target,
    loss=lambda params, target, key: jnp.sum((params["kernel"] - target) ** 2) / 2,
    evaluate=lambda params, target: {},
)


def _three_steps(name: str, optimizer: Optimizer, expected: Sequence[float]) -> Oracle:
    def trained() -> Float[Array, "rows columns"]:
        @jax.jit
        def train(rates, target, key):
            keys = workloads.run_keys(key)
            return workloads.train(QUADRATIC, target, optimizer, rates, keys, batch_size=1).params["kernel"]

        return train(jnp.array(RATES), jnp.array(TARGET), jax.random.key(0))

    return Oracle(f"three steps of {name}", "NumPy, float64", trained, expected, 1e-5)


ADAM = (0.6519278487219186, -1.6504350727292632, 0.15106549760480562, 2.6505444265838447)
MUON = (0.7851207852697778, -1.7237267239182856, 0.2237267239182858, 2.785120785269778)
TRAINING = (
    _three_steps("Adam", optax.adam, ADAM),
    _three_steps("Muon", partial(optim.muon, polar="svd"), MUON),
)


def _mean_field() -> Float[Array, ""]:
    return expected_losses(jnp.ones(2), jnp.array([1 / 2, 1 / 3, 1 / 6]), batch_size=3)[-1]


def _exact_loss() -> Float[Array, ""]:
    with jax.enable_x64(True):
        losses = jax.jit(exact_losses, static_argnames="batch_size")
        kernel = np.diag([1 / 2, 1 / 3, 1 / 6])
        return losses(np.full(10, 0.5), kernel, batch_size=1)[-1]


REGRESSION = (
    Oracle(
        "linear regression, mean field",
        "Σ (1 - λ)^(2·2) / 2D on whole batches",
        _mean_field,
        (((1 / 2) ** 4 + (2 / 3) ** 4 + (5 / 6) ** 4) / 6,),
        1e-6,
    ),
    Oracle(
        "linear regression, exact loss",
        "Σ (2/3 + (1 - 3λ/2)²/3)^10 / 2D on a diagonal kernel",
        _exact_loss,
        (((11 / 16) ** 10 + (3 / 4) ** 10 + (41 / 48) ** 10) / 6,),
        1e-12,
    ),
)

FIGURES = (*SCHEDULES, *POLAR_FACTORS, *TRAINING, *REGRESSION)
