"""A Gaussian process as a model of scores over the unit cube.

Matérn-5/2 kernel with a length scale for each axis, an amplitude and a noise, all at the maximum of their
posterior. The scores are compressed first: what is far above the best matters only as being bad.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import minimize
from tinygp import GaussianProcess, kernels, transforms
from tinygp.kernels.distance import L2Distance

from schedules.search.scale import Scale

SMALLEST_SIZE = 32  # points that the compiled programs have room for; then powers of two
DIMENSIONS = 12  # that they have room for, or more; an axis on which all points agree changes nothing
ABSENT = 1e8  # noise of a place that holds no point
MAX_ITERATIONS = 40
# log amplitude and log noise in units of the compressed scores' spread: mean and spread of the prior, bounds
AMPLITUDE, NOISE = (0.0, 1.0, (-3.0, 3.0)), (-4.0, 2.0, (-9.0, 1.0))
LENGTH_SPREAD, LENGTH_BOUNDS = 1.0, (-4.0, 4.0)  # likewise; the mean grows with the cube's diagonal
JITTER = 1e-6  # on the diagonal of a sampled posterior, for its Cholesky factor


class Surrogate(NamedTuple):
    """A fitted model; arrays are padded to the size of its program.

    Attributes:
      log_parameters: amplitude, noise, then a length scale an axis.
      points: of the unit cube.
      values: compressed scores, with mean 0 and standard deviation 1.
      noise: added to the noise of each point; `ABSENT` where there is none.
      num_points, dimensions: how much of the arrays is in use.
    """

    log_parameters: Float[np.ndarray, "parameters"]
    points: Float[np.ndarray, "size max_dims"]
    values: Float[np.ndarray, "size"]
    noise: Float[np.ndarray, "size"]
    num_points: int
    dimensions: int

    @property
    def length_scales(self) -> Float[np.ndarray, "dims"]:
        return np.exp(self.log_parameters[2 : 2 + self.dimensions])


def fit(points: Float[np.ndarray, "told dims"], scores: Float[np.ndarray, "told"]) -> Surrogate:
    """The model of these scores; diverged ones count as the worst of the others."""
    (num_points, dimensions), size = points.shape, SMALLEST_SIZE
    while size < num_points:
        size *= 2
    padding = (0, size - num_points)
    padded = np.pad(points.astype(np.float64), (padding, (0, max(DIMENSIONS - dimensions, 0))))
    values = np.pad(compressed(scores), padding)
    noise = np.pad(np.zeros(num_points), padding, constant_values=ABSENT)
    prior, bounds = _prior(dimensions)
    best = _minimize(lambda p: _loss(p, padded, values, noise, prior), prior[0], bounds, MAX_ITERATIONS)
    return Surrogate(best, padded, values, noise, num_points, dimensions)


def compressed(scores: Float[np.ndarray, "told"]) -> Float[np.ndarray, "told"]:
    """asinh((y - min y) / the first quartile of that), standardised, where y is the level of a score, its
    logarithm if all are positive: alike to y near the best, to log y far from it.

    A positive factor leaves it as it is; so does a power where all scores are positive, and a shift where not
    all are, before and after.
    """
    finite = np.isfinite(scores)
    if not finite.any():
        return np.zeros(len(scores))
    worst = np.max(scores[finite])
    y = np.where(finite, scores, worst)
    y = Scale.of(y).levels(y)
    heights = y - np.min(y)
    scale = np.quantile(heights, 0.25) or np.max(heights) or 1.0
    values = np.arcsinh(heights / scale)
    return (values - np.mean(values)) / (np.std(values) or 1.0)


def means(model: Surrogate, points: Float[np.ndarray, "batch dims"]) -> Float[np.ndarray, "batch"]:
    """The posterior mean of the compressed score at points; compiled for each number of them."""
    with jax.enable_x64(True):
        return np.asarray(_means(*model[:4], _widened(points, model)))


def means_where_fitted(model: Surrogate) -> Float[np.ndarray, "told"]:
    """The posterior mean at the points that the model was fitted to."""
    with jax.enable_x64(True):
        return np.asarray(_means(*model[:4], model.points))[: model.num_points]


def samples(
    model: Surrogate, points: Float[np.ndarray, "batch dims"], key: PRNGKeyArray, count: int
) -> Float[np.ndarray, "count batch"]:
    """Functions drawn from the posterior, at points."""
    with jax.enable_x64(True):
        return np.asarray(_samples(*model[:4], _widened(points, model), key, count))


def lowest_mean(
    model: Surrogate,
    start: Float[np.ndarray, "dims"],
    low: Float[np.ndarray, "dims"],
    high: Float[np.ndarray, "dims"],
) -> Float[np.ndarray, "dims"]:
    """A local minimum of the posterior mean within a box, found from a start in it."""
    bounds = _widened(np.stack([low, high]), model).T
    found = _minimize(
        lambda x: _mean_at(x, *model[:4]), _widened(start[None], model)[0], bounds, MAX_ITERATIONS
    )
    return found[: model.dimensions]


def _prior(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each log parameter, a row each; and the bounds."""
    length = (np.log(dimensions / 4) / 2, LENGTH_SPREAD, LENGTH_BOUNDS)
    means, spreads, bounds = zip(AMPLITUDE, NOISE, *[length] * max(DIMENSIONS, dimensions), strict=True)
    return np.array([means, spreads]), np.array(bounds)


def _minimize(value_and_gradient, start: np.ndarray, bounds: np.ndarray, iterations: int) -> np.ndarray:
    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(x)
        return float(value), np.asarray(gradient)

    with jax.enable_x64(True):
        found = minimize(
            function, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations}
        )
    return found.x


def _widened(
    points: Float[np.ndarray, "batch dims"], model: Surrogate
) -> Float[np.ndarray, "batch max_dims"]:
    return np.pad(points.astype(np.float64), ((0, 0), (0, model.points.shape[1] - model.dimensions)))


def _process(log_parameters: Array, points: Array, noise: Array) -> GaussianProcess:
    amplitude, own_noise, length_scales = (
        jnp.exp(part) for part in (log_parameters[0], log_parameters[1], log_parameters[2:])
    )
    matern = transforms.Linear(1 / length_scales, kernels.Matern52(distance=L2Distance()))
    return GaussianProcess(amplitude**2 * matern, points, diag=own_noise**2 + noise)


@jax.jit
@jax.value_and_grad
def _loss(log_parameters: Array, points: Array, values: Array, noise: Array, prior: Array) -> Array:
    """Minus the log posterior of the parameters."""
    likelihood = _process(log_parameters, points, noise).log_probability(values)
    return jnp.sum(((log_parameters - prior[0]) / prior[1]) ** 2) / 2 - likelihood


@jax.jit
def _means(log_parameters: Array, points: Array, values: Array, noise: Array, queries: Array) -> Array:
    return _process(log_parameters, points, noise).condition(values, queries).gp.mean


@jax.jit
@jax.value_and_grad
def _mean_at(x: Array, log_parameters: Array, points: Array, values: Array, noise: Array) -> Array:
    return _means(log_parameters, points, values, noise, x[None])[0]


@functools.partial(jax.jit, static_argnums=6)
def _samples(
    log_parameters: Array,
    points: Array,
    values: Array,
    noise: Array,
    queries: Array,
    key: PRNGKeyArray,
    count: int,
) -> Array:
    posterior = _process(log_parameters, points, noise).condition(values, queries, diag=JITTER).gp
    return jax.vmap(posterior.sample)(jax.random.split(key, count))
