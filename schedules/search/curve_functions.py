"""Functions drawn from the posterior of a model of curves, whose values can be asked for at any curve.

A drawn function is one from the prior, as a sum of random Fourier features, plus what the runs say of the
difference. The parameters are drawn too, once for several functions: their uncertainty is most of what few
runs leave open. Sources: Rahimi and Recht (2007), "Random features for large-scale kernel machines"; Wilson
et al. (2020), "Efficiently sampling functions from Gaussian process posteriors", arXiv:2002.09309.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.linalg import cho_solve, cholesky

from schedules.search.blas import by_strips, on_one_thread
from schedules.search.curve_fit import CONSTANT, JITTER, Parameters, minus_log_posterior, prior
from schedules.search.curve_model import FITTED, CurveModel
from schedules.search.curve_runs import Runs, Values, learning_rates, places_of
from schedules.search.strategy import numpy_generator

FEATURES = 512
DRAWN = 8  # sets of parameters
THINNED = 4  # steps of their chain for each
STEP = 0.01  # of the differences that a curvature is taken from
FLATTEST = 0.5  # curvature of the posterior over that of the prior, at least


class Functions(NamedTuple):
    """Functions of curves, so many of each model; see the module."""

    unit_rate: float
    values: Values
    groups: tuple["_Group", ...]

    @classmethod
    @on_one_thread
    def of(cls, models: Sequence[CurveModel], count: int, key: PRNGKeyArray) -> "Functions":
        """So many functions of each of some models, which differ in their parameters alone."""
        generator = numpy_generator(key)
        groups = tuple(_Group.of(model, count, generator) for model in models)
        return cls(models[0].unit_rate, models[0].values, groups)

    @on_one_thread
    def __call__(
        self, curves: Float[np.ndarray, "curves *groups steps"]
    ) -> Float[np.ndarray, "functions curves"]:
        """The level of every curve under every function."""
        places = places_of(learning_rates(curves), self.unit_rate)
        values = np.concatenate([group(places) for group in self.groups], axis=1)
        return self.values.levels(values, values)[0].T


@on_one_thread
def plausible(model: CurveModel, key: PRNGKeyArray) -> list[CurveModel]:
    """The model under parameters from their posterior: a chain of Metropolis and Hastings from the most
    probable ones, with proposals from the normal distribution of the curvature there (Laplace)."""
    generator = numpy_generator(key)
    centre, covariance = prior(model.runs.places.shape[1])
    posterior = functools.partial(
        minus_log_posterior,
        runs=model.runs.some(FITTED),
        centre=centre,
        precision=np.linalg.inv(covariance),
    )
    best, root = model.parameters.logarithms, cholesky(covariance, lower=True)
    steps = STEP * np.eye(len(best))
    rows = [(posterior(best + step)[1] - posterior(best - step)[1]) / (2 * STEP) for step in steps]
    curvature = np.array(rows) / 2 + np.array(rows).T / 2
    sizes, axes = np.linalg.eigh(root.T @ curvature @ root)
    spread = root @ axes / np.sqrt(np.maximum(sizes, FLATTEST))
    position, current, drawn = np.zeros(len(best)), posterior(best)[0], []
    for number in range(1, DRAWN * THINNED + 1):
        proposal = generator.standard_normal(len(best))
        loss = posterior(best + spread @ proposal)[0]
        if np.log(generator.random()) < current - loss + (proposal @ proposal - position @ position) / 2:
            position, current = proposal, loss
        if number % THINNED == 0:
            drawn.append(model.under(Parameters.of(best + spread @ position)))
    return drawn


class _Group(NamedTuple):
    """Functions of the same parameters: Σ amplitudes · cos(frequencies · place + phases) + level, and the
    covariance with the runs times `weights`."""

    parameters: Parameters
    runs: Runs
    frequencies: Float[np.ndarray, "axes features"]
    phases: Float[np.ndarray, "features"]
    amplitudes: Float[np.ndarray, "features functions"]
    level: Float[np.ndarray, "functions"]
    weights: Float[np.ndarray, "means functions"]

    @classmethod
    def of(cls, model: CurveModel, count: int, generator: np.random.Generator) -> "_Group":
        parameters, runs = model.parameters, model.runs
        # the spectrum of Matérn-5/2 is a t-distribution of 5 degrees of freedom
        tails = np.sqrt(5 / generator.chisquare(5, FEATURES))
        frequencies = generator.standard_normal((len(parameters.lengths), FEATURES))
        frequencies = frequencies * tails / parameters.lengths[:, None]
        phases = generator.uniform(0, 2 * np.pi, FEATURES)
        amplitudes = parameters.amplitude * np.sqrt(2 / FEATURES)
        amplitudes = amplitudes * generator.standard_normal((FEATURES, count))
        level = np.sqrt(CONSTANT) * generator.standard_normal(count)
        blocks = generator.standard_normal((runs.shares.shape[1], count))
        own = np.sqrt(parameters.noise**2 / runs.counts + JITTER * parameters.amplitude**2)
        luck = parameters.seed * runs.shares @ blocks
        luck += own[:, None] * generator.standard_normal((len(own), count))
        group = cls(parameters, runs, frequencies, phases, amplitudes, level, np.zeros((len(own), count)))
        rest = runs.values[:, None] - group(runs.places) - luck
        return group._replace(weights=cho_solve((model.root, True), rest))

    def __call__(self, places: Float[np.ndarray, "curves axes"]) -> Float[np.ndarray, "curves functions"]:
        return by_strips(lambda strip: self._few(places[strip]), len(places))

    def _few(self, places: Float[np.ndarray, "rows axes"]) -> Float[np.ndarray, "rows functions"]:
        # cosines of float64 take ten times as long, and the features are an approximation
        angles = (places @ self.frequencies + self.phases).astype(np.float32)
        latent, *_ = self.parameters.kernel(places, self.runs.places)
        return np.cos(angles) @ self.amplitudes + self.level + latent @ self.weights
