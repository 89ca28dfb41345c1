"""One statistical model of all schedule shapes: a training run's score as a functional of its whole curve.

Whatever family drew them, curves of learning rates lie in one space, so that every run of any family teaches
about every other. A run of curve x with seed s has the value

    v = f(x) + τ·b_s + σ·e,   f ~ GP(0, κ + a²·Matérn-5/2 of |(z - z')/ℓ|),   b_s, e ~ N(0, 1),

where z is the logarithm of the curve's mean over each of ten equal segments, with a length scale ℓ for each.
Runs that share a seed move together; without b_s, one batch of lucky seeds would pass for good shapes. The
amplitude a, τ, σ and ℓ are at the maximum of their posterior. Source of the kernel and of the fit: Rasmussen
and Williams (2006), "Gaussian Processes for Machine Learning", chapters 2, 4 and 5; the space of curves and
the random effect of a seed are this project's.

The value of a score is log(1 + (level - best) / unit), where the level is the logarithm of the score and the
unit 1; where some score is not positive, the level is the score and the unit the median height of those
above the best. So differences count near the best, and far from it only their order of magnitude.
"""

import functools
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray, Shaped
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from schedules.search.blas import on_one_thread
from schedules.search.scale import Scale, as_scores
from schedules.search.strategy import numpy_generator

SEGMENTS = 10
LEAST = 3  # runs that a model needs
SMALLEST = 0.02  # of the curves' scale: a learning rate far below it is as good as none
FITTED = 300  # means at most that the parameters are fitted to
ITERATIONS = 60
JITTER = 1e-9  # relative to the amplitude's square, on the diagonal of what is factorised
WIDEST = 6.0  # spreads of the prior that a parameter may lie from its centre
# of the logarithms of a, τ, σ and every ℓ: centre and spread of the normal prior
AMPLITUDE, SEED, NOISE, LENGTH = (-0.7, 1.0), (-2.3, 1.0), (-1.9, 1.0), (1.1, 0.6)
CONSTANT = 1.0  # the prior variance κ of the level that all curves share


def is_enough(scores: Float[np.ndarray, "runs"]) -> bool:
    """Whether a model can be fitted to these: a few runs that did not diverge, not all alike."""
    finite = scores[np.isfinite(scores)]
    return len(finite) >= LEAST and bool(np.ptp(finite) > 0)


class Values(NamedTuple):
    """How scores become values; see the module. `sign` is -1 where scores are to be maximised."""

    scale: Scale
    sign: int
    best: float
    unit: float

    @classmethod
    def of(cls, scores: Float[np.ndarray, "runs"], maximize: bool) -> "Values":
        scale, sign = Scale.of(scores), -1 if maximize else 1
        levels = sign * scale.levels(scores)
        best = float(np.min(levels))
        heights = levels[levels > best] - best
        unit = 1.0 if scale is Scale.RELATIVE else float(np.median(heights))
        return cls(scale, sign, best, unit)

    def __call__(self, scores: Float[np.ndarray, "runs"]) -> Float[np.ndarray, "runs"]:
        return np.log1p((self.sign * self.scale.levels(scores) - self.best) / self.unit)

    def levels(
        self, mean: Float[np.ndarray, "*shape"], sd: Float[np.ndarray, "*shape"]
    ) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
        """The levels of values, and the standard deviations of those, by the slope there."""
        return self.sign * (self.best + self.unit * np.expm1(mean)), self.unit * np.exp(mean) * sd


class Runs(NamedTuple):
    """The runs that a model is fitted to, as means: of each curve over every block of seeds.

    Seeds are one block where the same curves ran with each of them, and equally often. What runs differ by
    within a mean is then independent of all the means, so that, given the parameters, these tell of f what
    the single runs tell. The parameters are fitted to the means alone.

    Attributes:
      places: of each mean's curve, logarithms of its segments.
      values: the means.
      shares: of b in each mean, as a factor on independent normal luck of each block.
      counts: runs of each mean.
    """

    places: Float[np.ndarray, "means segments"]
    values: Float[np.ndarray, "means"]
    shares: Float[np.ndarray, "means blocks"]
    counts: Int[np.ndarray, "means"]

    @classmethod
    def of(
        cls,
        places: Float[np.ndarray, "runs segments"],
        values: Float[np.ndarray, "runs"],
        seeds: Sequence[Hashable],
    ) -> "Runs":
        numbers = {label: number for number, label in enumerate(dict.fromkeys(seeds))}
        curve, seed = _numbered(places), np.array([numbers[label] for label in seeds])
        table = np.zeros((len(numbers), curve.max() + 1), int)
        np.add.at(table, (seed, curve), 1)
        blocks = _numbered(table)
        block = blocks[seed]
        mean = _numbered(np.stack([curve, block], axis=1))
        counts = np.bincount(mean)
        distinct, shares = np.empty((len(counts), places.shape[1])), np.zeros((len(counts), blocks.max() + 1))
        distinct[mean] = places
        shares[mean, block] = 1 / np.sqrt(np.bincount(blocks))[block]
        return cls(distinct, np.bincount(mean, values) / counts, shares, counts)

    def some(self, most: int) -> "Runs":
        """At most so many of the means, evenly over their order."""
        if len(self.values) <= most:
            return self
        return Runs(*(part[np.linspace(0, len(part) - 1, most).round().astype(int)] for part in self))


class Parameters(NamedTuple):
    """Of a model, as in its formula: a, τ, σ and the length scales, in nats of the learning rate."""

    amplitude: float
    seed: float
    noise: float
    lengths: Float[np.ndarray, "segments"]

    @classmethod
    def of(cls, logarithms: Float[np.ndarray, "parameters"]) -> "Parameters":
        amplitude, seed, noise = np.exp(logarithms[:3]).tolist()
        return cls(amplitude, seed, noise, np.exp(logarithms[3:]))

    def covariance(
        self, places: Float[np.ndarray, "rows segments"], others: Float[np.ndarray, "columns segments"]
    ) -> Float[np.ndarray, "rows columns"]:
        """Of the latent values at places."""
        r = np.sqrt(5) * cdist(places / self.lengths, others / self.lengths)
        return CONSTANT + self.amplitude**2 * (1 + r + r**2 / 3) * np.exp(-r)

    def of_runs(self, runs: Runs) -> Float[np.ndarray, "means means"]:
        """The covariance of the means."""
        own = self.noise**2 / runs.counts + JITTER * self.amplitude**2
        shared = self.seed**2 * runs.shares @ runs.shares.T
        return self.covariance(runs.places, runs.places) + shared + np.diag(own)


class CurveModel(NamedTuple):
    """A fitted model; see the module.

    >>> rates = np.geomspace(0.01, 1.0, 12)
    >>> model = CurveModel.fit(np.tile(rates[:, None], 100), 0.1 + np.log(rates / 0.1) ** 2, [0] * 12)
    >>> mean, _ = model.predict(np.full((1, 100), 0.1))
    >>> bool(mean[0] < model.predict(np.full((1, 100), 0.5))[0][0])
    True

    Attributes:
      unit_rate: the learning rate that `SMALLEST` is a part of: the median of the curves' peaks.
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
        curves: Float[np.ndarray, "runs steps"],
        scores: Float[np.ndarray, "runs"],
        seeds: Sequence[Hashable],
        *,
        maximize: bool = False,
    ) -> "CurveModel":
        """The model of runs.

        Args:
          curves: the learning rate of every step, a row a run.
          scores: what is to be minimised, +inf where a run diverged; or to be maximised, and -inf. A run that
            diverged counts as the worst of the others.
          seeds: a label a run, alike where the runs share their randomness.
          maximize: whether higher scores are better.

        Raises ValueError for curves that are negative, not finite or not as many as scores and seeds, for
        fewer than 3 runs that did not diverge, and for scores that are all equal, or NaN.
        """
        curves, scores = _checked(curves, scores, seeds, -1 if maximize else 1)
        values = Values.of(scores, maximize)
        unit_rate = float(np.median(curves.max(axis=1))) or 1.0
        runs = Runs.of(places_of(curves, unit_rate), values(scores), seeds)
        parameters = _most_probable(runs.some(FITTED))
        root = cholesky(parameters.of_runs(runs), lower=True)
        return cls(unit_rate, values, parameters, runs, root, cho_solve((root, True), runs.values))

    def predict(
        self, curves: Float[np.ndarray, "curves steps"], observed: bool = False
    ) -> tuple[Float[np.ndarray, "curves"], Float[np.ndarray, "curves"]]:
        """Mean and standard deviation of the level of a score, its logarithm if all are positive: of the
        typical one over seeds, or where `observed` that of one run with a new seed.

        Raises ValueError for curves as `fit` does.
        """
        mean, variance = self._posterior(self._places(curves))
        if observed:
            variance = variance + self.parameters.seed**2 + self.parameters.noise**2
        return self.values.levels(mean, np.sqrt(variance))

    @on_one_thread
    def means(self, curves: Float[np.ndarray, "curves steps"]) -> Float[np.ndarray, "curves"]:
        """Those of `predict` alone, at a small part of the cost."""
        mean = self.parameters.covariance(self._places(curves), self.runs.places) @ self.weights
        return self.values.levels(mean, mean)[0]

    @on_one_thread
    def sample(
        self, curves: Float[np.ndarray, "curves steps"], key: PRNGKeyArray, count: int
    ) -> Float[np.ndarray, "count curves"]:
        """Levels of the curves under functions drawn from the posterior, the same function in a row."""
        places = self._places(curves)
        cross = self.parameters.covariance(self.runs.places, places)
        solved = solve_triangular(self.root, cross, lower=True)
        covariance = self.parameters.covariance(places, places) - solved.T @ solved
        covariance[np.diag_indices_from(covariance)] += 1e-6 * self.parameters.amplitude**2
        normal = numpy_generator(key).standard_normal((count, len(places)))
        drawn = cross.T @ self.weights + normal @ cholesky(covariance, lower=True).T
        return self.values.levels(drawn, drawn)[0]

    @on_one_thread
    def sensitivity(
        self, curve: Float[np.ndarray, "steps"]
    ) -> tuple[Float[np.ndarray, "segments"], Float[np.ndarray, "segments"]]:
        """∂ level / ∂ log η of each segment of the run, with its standard deviation: what the logarithm of
        the score gains where the learning rate there grows by a factor of e."""
        means = segment_means(_learning_rates([curve]))
        place = np.log(means + SMALLEST * self.unit_rate)
        share = means[0] / (means[0] + SMALLEST * self.unit_rate)
        lengths, amplitude = self.parameters.lengths, self.parameters.amplitude
        offsets = (self.runs.places - place) / lengths
        r = np.sqrt(5) * np.linalg.norm(offsets, axis=1, keepdims=True)
        slopes = amplitude**2 * 5 / 3 * (1 + r) * np.exp(-r) * offsets / lengths
        solved = solve_triangular(self.root, slopes, lower=True)
        prior = amplitude**2 * 5 / 3 / lengths**2  # of a derivative
        sd = np.sqrt(np.maximum(prior - np.sum(solved**2, axis=0), 0))
        value, _ = self._posterior(place)
        slope = self.values.unit * np.exp(value) * share
        return self.values.sign * slope * (slopes.T @ self.weights), slope * sd

    def _places(self, curves: Float[np.ndarray, "curves steps"]) -> Float[np.ndarray, "curves segments"]:
        return places_of(_learning_rates(curves), self.unit_rate)

    @on_one_thread
    def _posterior(
        self, places: Float[np.ndarray, "curves segments"]
    ) -> tuple[Float[np.ndarray, "curves"], Float[np.ndarray, "curves"]]:
        cross = self.parameters.covariance(self.runs.places, places)
        solved = solve_triangular(self.root, cross, lower=True)
        prior = CONSTANT + self.parameters.amplitude**2
        return cross.T @ self.weights, np.maximum(prior - np.sum(solved**2, axis=0), 0)


def places_of(
    curves: Float[np.ndarray, "curves steps"], unit_rate: float
) -> Float[np.ndarray, "curves segments"]:
    """log(mean over each segment + ε), ε = `SMALLEST` · unit_rate."""
    return np.log(segment_means(curves) + SMALLEST * unit_rate)


def segment_means(curves: Float[np.ndarray, "curves steps"]) -> Float[np.ndarray, "curves segments"]:
    """The mean over each of ten equal segments; a step that two share counts in both with its part.

    >>> segment_means(np.arange(20.0)[None])[0, :3].tolist()
    [0.5, 2.5, 4.5]
    """
    num_steps = curves.shape[1]
    ends = np.linspace(0, num_steps, SEGMENTS + 1)
    sums = np.concatenate([np.zeros((len(curves), 1)), np.cumsum(curves, axis=1)], axis=1)
    whole = np.minimum(ends.astype(int), num_steps - 1)
    at_ends = sums[:, whole] + (ends - whole) * curves[:, whole]
    return np.diff(at_ends, axis=1) * SEGMENTS / num_steps


def _checked(curves, scores, seeds: Sequence[Hashable], sign: int) -> tuple[np.ndarray, np.ndarray]:
    curves, scores = _learning_rates(curves), sign * as_scores(sign * np.asarray(scores))
    if scores.shape != (len(curves),) or len(seeds) != len(curves):
        raise ValueError(
            "curves must have a score and a seed each, got shapes"
            f" {curves.shape}, {scores.shape} and {len(seeds)} seeds"
        )
    if not is_enough(scores):
        raise ValueError(
            f"a model needs {LEAST} runs that did not diverge and differ, got the scores {scores}"
        )
    finite = np.isfinite(scores)
    return curves, np.where(finite, scores, sign * np.max(sign * scores[finite]))


def _learning_rates(curves) -> Float[np.ndarray, "curves steps"]:
    curves = np.asarray(curves, np.float64)
    if curves.ndim != 2 or not curves.shape[1]:
        raise ValueError(f"curves must be an array (curves, steps), got shape {curves.shape}")
    if not np.all((curves >= 0) & (curves < np.inf)):
        raise ValueError(
            f"curves must be finite learning rates from 0 on, got {np.min(curves)} to {np.max(curves)}"
        )
    return curves


def _numbered(rows: Shaped[np.ndarray, "rows columns"]) -> Int[np.ndarray, "rows"]:
    """The number of each row among the distinct ones, as they come."""
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number.ravel()]


def _most_probable(runs: Runs) -> Parameters:
    """The parameters at the maximum of their posterior."""
    priors = np.array([AMPLITUDE, SEED, NOISE, *[LENGTH] * SEGMENTS]).T
    centre, spread = priors
    found = minimize(
        functools.partial(_loss, runs=runs, centre=centre, spread=spread),
        centre,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(centre - WIDEST * spread, centre + WIDEST * spread, strict=True)),
        options={"maxiter": ITERATIONS},
    )
    return Parameters.of(found.x)


def _loss(
    logarithms: Float[np.ndarray, "parameters"], runs: Runs, centre: np.ndarray, spread: np.ndarray
) -> tuple[float, Float[np.ndarray, "parameters"]]:
    """Minus the log posterior of the parameters' logarithms, but for a constant, and its gradient.

    ∂/∂p = ½ Σ G ∘ ∂K/∂p with G = K⁻¹ - K⁻¹vvᵀK⁻¹; for a length scale ∂K/∂log ℓ is a²·5/3·(1 + r)e^(-r) times
    the squared distance along its axis, whose sum needs matrix products alone.
    """
    parameters = Parameters.of(logarithms)
    scaled = runs.places / parameters.lengths
    r = np.sqrt(5) * cdist(scaled, scaled)
    decay = parameters.amplitude**2 * np.exp(-r)
    root = cholesky(parameters.of_runs(runs), lower=True)
    weights = cho_solve((root, True), runs.values)
    inner = cho_solve((root, True), np.eye(len(weights))) - np.outer(weights, weights)
    bent = inner * decay * 5 / 3 * (1 + r)
    gradient = np.concatenate(
        [
            [np.sum(inner * decay * (1 + r + r**2 / 3)) + JITTER * parameters.amplitude**2 * np.trace(inner)],
            [parameters.seed**2 * np.sum(runs.shares * (inner @ runs.shares))],
            [parameters.noise**2 * np.sum(np.diag(inner) / runs.counts)],
            bent.sum(axis=1) @ scaled**2 - np.sum(scaled * (bent @ scaled), axis=0),
        ]
    )
    deviations = (logarithms - centre) / spread
    loss = runs.values @ weights / 2 + np.sum(np.log(np.diag(root))) + deviations @ deviations / 2
    return loss, gradient + deviations / spread
