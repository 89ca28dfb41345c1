"""One statistical model of all schedule shapes: a training run's score as a functional of its whole curve.

Whatever family drew them, curves of learning rates lie in one space, so that every run of any family teaches
about every other. A run of curve x with seed s has the value

    v = f(x) + τ·b_s + σ·e,   f ~ GP(0, κ + a²·Matérn-5/2 of |(z - z')/ℓ|),   b_s, e ~ N(0, 1),

where z is the logarithm of the curve's mean over each of ten equal segments, with a length scale ℓ for each.
Where groups of parameters have a curve each, z goes on with the logarithm of each other one's mean, and with
how its shape differs in each segment from the first's. Where a search has them share their shape that is 0
throughout, and the model asks no more runs than one curve and a ratio need.
Runs that share a seed move together; without b_s, one batch of lucky seeds would pass for good shapes. The
amplitude a, τ, σ and ℓ are at the maximum of their posterior. Source of the kernel and of the fit: Rasmussen
and Williams (2006), "Gaussian Processes for Machine Learning", chapters 2, 4 and 5; the space of curves and
the random effect of a seed are this project's.

The value of a score is h for a height below 0 and 3·log(1 + h/3) for one above, h = (level - best) / unit,
where the level is the logarithm of the score and the unit 1; where some score is not positive, the level is
the score and the unit the median height of those above the best. So differences count near the best, and far
from it only their order of magnitude.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.linalg import cho_solve, cholesky, solve_triangular

from schedules.search.blas import on_one_thread
from schedules.search.curve_fit import CONSTANT, Parameters, most_probable
from schedules.search.curve_runs import (
    SEGMENTS,
    SMALLEST,
    Runs,
    Values,
    checked,
    learning_rates,
    places_of,
    segment_means,
)
from schedules.search.strategy import numpy_generator

FITTED = 300  # means at most that the parameters are fitted to


class CurveModel(NamedTuple):
    """A fitted model; see the module.

    >>> rates = np.geomspace(0.01, 1.0, 12)
    >>> model = CurveModel.fit(np.tile(rates[:, None], 100), 0.1 + np.log(rates / 0.1) ** 2, [0] * 12)
    >>> mean, _ = model.predict(np.full((1, 100), 0.1))
    >>> bool(mean[0] < model.predict(np.full((1, 100), 0.5))[0][0])
    True

    Attributes:
      unit_rate: the learning rate that `SMALLEST` is a part of: the median of the curves' peaks, of
        the first group.
      values: how scores become values.
      parameters: the fitted ones.
      runs: what it was fitted to.
      root: the Cholesky factor of the covariance of those.
      weights: that covariance's inverse times the values.
    """

    unit_rate: float
    values: Values
    parameters: Parameters
    runs: Runs
    root: Float[np.ndarray, "means means"]
    weights: Float[np.ndarray, "means"]

    @classmethod
    @on_one_thread
    def fit(
        cls,
        curves: Float[np.ndarray, "runs *groups steps"],
        scores: Float[np.ndarray, "runs"],
        seeds: Sequence[Hashable],
        *,
        maximize: bool = False,
    ) -> "CurveModel":
        """The model of runs.

        Args:
          curves: the learning rate of every step, a row a run, or a row a group of parameters of each.
          scores: what is to be minimised, +inf where a run diverged; or to be maximised, and -inf. A run that
            diverged counts as the worst of the others.
          seeds: a label a run, alike where the runs share their randomness.
          maximize: whether higher scores are better.

        Raises ValueError for curves that are negative, not finite or not as many as scores and seeds, for
        fewer than 3 runs that did not diverge, and for scores that are all equal, or NaN.
        """
        curves, scores = checked(curves, scores, seeds, -1 if maximize else 1)
        values = Values.of(scores, maximize)
        unit_rate = float(np.median(curves[:, 0].max(axis=1))) or 1.0
        runs = Runs.of(places_of(curves, unit_rate), values(scores), seeds)
        parameters = most_probable(runs.some(FITTED))
        root = parameters.root(runs)
        return cls(unit_rate, values, parameters, runs, root, cho_solve((root, True), runs.values))

    @on_one_thread
    def under(self, parameters: Parameters) -> "CurveModel":
        """The model of the same runs with these parameters."""
        root = parameters.root(self.runs)
        weights = cho_solve((root, True), self.runs.values)
        return self._replace(parameters=parameters, root=root, weights=weights)

    def predict(
        self, curves: Float[np.ndarray, "curves *groups steps"], observed: bool = False
    ) -> tuple[Float[np.ndarray, "curves"], Float[np.ndarray, "curves"]]:
        """Mean and standard deviation of the level of a score, its logarithm if all are positive: of the
        typical one over seeds, or where `observed` that of one run with a new seed.

        Raises ValueError for curves as `fit` does.
        """
        return self.values.levels(*self._moments(curves, observed))

    def quantiles(
        self,
        curves: Float[np.ndarray, "curves *groups steps"],
        probabilities: Float[np.ndarray, "probabilities"],
        observed: bool = False,
    ) -> Float[np.ndarray, "probabilities curves"]:
        """Of the level whose mean `predict` tells; that is the median.

        Raises ValueError for curves as `fit` does.
        """
        return self.values.quantiles(*self._moments(curves, observed), probabilities)

    @on_one_thread
    def means(self, curves: Float[np.ndarray, "curves *groups steps"]) -> Float[np.ndarray, "curves"]:
        """Those of `predict` alone, at a small part of the cost."""
        mean = self.parameters.covariance(self._places(curves), self.runs.places) @ self.weights
        return self.values.levels(mean, mean)[0]

    @on_one_thread
    def sample(
        self, curves: Float[np.ndarray, "curves *groups steps"], key: PRNGKeyArray, count: int
    ) -> Float[np.ndarray, "count curves"]:
        """Levels of the curves under functions drawn from the posterior, the same function in a row."""
        places = self._places(curves)
        cross, solved = self._crossed(places)
        covariance = self.parameters.covariance(places, places) - solved.T @ solved
        covariance[np.diag_indices_from(covariance)] += 1e-6 * self.parameters.amplitude**2
        normal = numpy_generator(key).standard_normal((count, len(places)))
        drawn = cross.T @ self.weights + normal @ cholesky(covariance, lower=True).T
        return self.values.levels(drawn, drawn)[0]

    @on_one_thread
    def sensitivity(
        self, curve: Float[np.ndarray, "*groups steps"]
    ) -> tuple[Float[np.ndarray, "segments"], Float[np.ndarray, "segments"]]:
        """∂ level / ∂ log η of each segment of the run, with its standard deviation: what the logarithm of
        the score gains where the learning rate there grows by a factor of e. Of groups it is that of the
        first; the others' shapes grow with it, and keep their means."""
        place = self._places(curve[None])
        means = segment_means(learning_rates([curve])[:, 0])
        share = means[0] / (means[0] + SMALLEST * self.unit_rate)
        lengths, amplitude = self.parameters.lengths, self.parameters.amplitude
        offsets = (self.runs.places - place) / lengths
        r = np.sqrt(5) * np.linalg.norm(offsets, axis=1, keepdims=True)
        slopes = (amplitude**2 * 5 / 3 * (1 + r) * np.exp(-r) * offsets / lengths)[:, :SEGMENTS]
        solved = solve_triangular(self.root, slopes, lower=True)
        prior = amplitude**2 * 5 / 3 / lengths[:SEGMENTS] ** 2  # of a derivative
        sd = np.sqrt(np.maximum(prior - np.sum(solved**2, axis=0), 0))
        value, _ = self._posterior(place)
        slope = self.values.levels(value, np.ones(1))[1] * share
        return self.values.sign * slope * (slopes.T @ self.weights), slope * sd

    def _places(self, curves: Float[np.ndarray, "curves *groups steps"]) -> Float[np.ndarray, "curves axes"]:
        return places_of(learning_rates(curves), self.unit_rate)

    def _moments(
        self, curves: Float[np.ndarray, "curves *groups steps"], observed: bool
    ) -> tuple[Float[np.ndarray, "curves"], Float[np.ndarray, "curves"]]:
        """Mean and standard deviation of the values of curves."""
        mean, variance = self._posterior(self._places(curves))
        if observed:
            variance = variance + self.parameters.seed**2 + self.parameters.noise**2
        return mean, np.sqrt(variance)

    @on_one_thread
    def _posterior(
        self, places: Float[np.ndarray, "curves axes"]
    ) -> tuple[Float[np.ndarray, "curves"], Float[np.ndarray, "curves"]]:
        cross, solved = self._crossed(places)
        prior = CONSTANT + self.parameters.amplitude**2
        return cross.T @ self.weights, np.maximum(prior - np.sum(solved**2, axis=0), 0)

    def _crossed(
        self, places: Float[np.ndarray, "curves axes"]
    ) -> tuple[Float[np.ndarray, "means curves"], Float[np.ndarray, "means curves"]]:
        """The covariance of the means with latent values at places, and the root's inverse times it."""
        cross = self.parameters.covariance(places, self.runs.places).T  # columns in order, for LAPACK
        return cross, solve_triangular(self.root, cross, lower=True, check_finite=False)
