"""A quadratic of the score's level in a box: where it is lowest, and how much lower the score may be there.

The level is the logarithm of the score, or the score itself; see `Scale`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from schedules.search.box import Box
from schedules.search.paired import RelativeScores, relative_scores
from schedules.search.scale import Scale

SPARE_POINTS = 4  # measured beyond the number of coefficients, the least that tells the noise
DRAWS = 400  # quadratics that a bound minimises
TRUSTED = 0.2  # above the lowest log score, how far a quadratic is expected to hold
TRUSTED_PART = 0.5  # of the points, on the ABSOLUTE scale: as far as the lowest half of them lies
CYCLES = 20  # of coordinate descent on a quadratic


class Measured(NamedTuple):
    """Groups of points of the unit cube and their scores; those of one group ran with the same seeds."""

    points: tuple[Float[np.ndarray, "_ dims"], ...] = ()
    scores: tuple[Float[np.ndarray, "_ replicates"], ...] = ()

    @property
    def scale(self) -> Scale:
        return Scale.of(*self.scores)

    def add(
        self, points: Float[np.ndarray, "new dims"], scores: Float[np.ndarray, "new replicates"]
    ) -> "Measured":
        return Measured((*self.points, points), (*self.scores, scores))

    def relative(self, scale: Scale) -> RelativeScores:
        """The scores of all groups without what the seeds of each share."""
        found = [relative_scores(group, scale) for group in self.scores]
        return RelativeScores(*map(np.concatenate, zip(*found, strict=True)))


class Quadratic(NamedTuple):
    """level = slope·u + ½ uᵀ·curvature·u + the level of the group, u in half sides of the box.

    Attributes:
      box: where it was fitted.
      mean: the slope and the upper triangle of the curvature, row by row.
      root: the covariance of those is noise² · root rootᵀ.
      noise: the standard deviation around the fit of a score that weighs 1.
      misfit: how much of it the spread over the replicates does not explain.
      spare: scores beyond the number of coefficients.
    """

    box: Box
    mean: Float[np.ndarray, "coefficients"]
    root: Float[np.ndarray, "coefficients coefficients"]
    noise: float
    misfit: float
    spare: int


def fit_quadratic(measured: Measured, box: Box, scale: Scale) -> Quadratic | None:
    """The least-squares fit to the finite scores inside a box, the best weighing most; None if too few."""
    points, relative = np.concatenate(measured.points), measured.relative(scale)
    chosen = box.holds(points) & np.isfinite(relative.levels)
    levels, variances = relative.levels[chosen], relative.variances[chosen]
    groups = np.repeat(np.arange(len(measured.points)), [len(group) for group in measured.points])[chosen]
    features = _features(box.scaled(points[chosen]))
    design = np.concatenate([features, groups[:, None] == np.unique(groups)], axis=1)
    spare = len(design) - design.shape[1]
    if spare < SPARE_POINTS:
        return None
    weights = _weights(levels, groups, scale)
    inverse = np.linalg.pinv(weights[:, None] * design) * weights
    fitted = inverse @ levels
    noise = np.sqrt(np.sum((weights * (levels - design @ fitted)) ** 2) / spare)
    known = (weights**2 * variances)[~np.isnan(variances)]
    misfit = max(noise - np.sqrt(np.mean(known)), 0.0) if len(known) else noise
    count = features.shape[1]
    # (XᵀX)⁻¹ = X⁺ (X⁺)ᵀ, of which a triangular root needs the fewest random numbers
    root = np.linalg.qr((inverse[:count] / weights).T, mode="r").T
    return Quadratic(box, fitted[:count], root, float(noise), float(misfit), spare)


def lowest_point(model: Quadratic, start: Float[np.ndarray, "dims"]) -> Float[np.ndarray, "dims"]:
    """A local minimum of the fitted quadratic inside its box, found from a start in it."""
    found, _ = _descend(model, model.mean[None], start, model.box)
    return model.box.unscaled(found[0])


def improvement_bound(
    model: Quadratic, point: Float[np.ndarray, "dims"], box: Box, confidence: float, rng: np.random.Generator
) -> float:
    """An upper confidence limit of level(at) - min level over a box.

    Quadratics are drawn that agree with the scores; the limit is a quantile of what each gains at its own
    minimum, plus the misfit: what the fit misses at a measured point it may miss at the minimum.
    """
    normal = rng.standard_normal((DRAWS, len(model.mean)))
    noise = model.noise * np.sqrt(model.spare / rng.chisquare(model.spare, (DRAWS, 1)))
    _, gains = _descend(model, model.mean + noise * (normal @ model.root.T), point, box)
    return float(np.quantile(gains, confidence, method="higher")) + model.misfit


def _weights(
    levels: Float[np.ndarray, "points"], groups: Int[np.ndarray, "points"], scale: Scale
) -> Float[np.ndarray, "points"]:
    """1 / sqrt(1 + (excess / trusted)²): what is far above the best of its group hardly matters.

    A metric's unit says nothing of what is far, so on the ABSOLUTE scale the points do.
    """
    _, members = np.unique(groups, return_inverse=True)
    best = np.full(members.max() + 1, np.inf)
    np.minimum.at(best, members, levels)
    excess = levels - best[members]
    trusted = TRUSTED if scale is Scale.RELATIVE else np.quantile(excess, TRUSTED_PART) or 1.0
    return 1 / np.hypot(1, excess / trusted)


def _features(u: Float[np.ndarray, "points dims"]) -> Float[np.ndarray, "points coefficients"]:
    rows, columns = np.triu_indices(u.shape[1])
    weights = np.where(rows == columns, 0.5, 1.0)
    return np.concatenate([u, weights * u[:, rows] * u[:, columns]], axis=1)


def _descend(
    model: Quadratic, coefficients: Float[np.ndarray, "draws coefficients"], start: np.ndarray, box: Box
) -> tuple[Float[np.ndarray, "draws dims"], Float[np.ndarray, "draws"]]:
    """Where coordinate descent in a box takes each quadratic, in the model's units, and how far down."""
    dimensions = len(start)
    slope = coefficients[:, :dimensions]
    curvature = np.zeros((len(coefficients), dimensions, dimensions))
    rows, columns = np.triu_indices(dimensions)
    curvature[:, rows, columns] = curvature[:, columns, rows] = coefficients[:, dimensions:]

    def value(u):
        return np.sum(u * (slope + np.einsum("nij,nj->ni", curvature, u) / 2), axis=1)

    u = np.tile(model.box.scaled(start), (len(coefficients), 1))
    first = value(u)
    low, high = model.box.scaled(box.low), model.box.scaled(box.high)
    for axis in np.tile(np.arange(dimensions), CYCLES):
        bend = curvature[:, axis, axis]
        tilt = slope[:, axis] + np.einsum("nj,nj->n", curvature[:, axis], u) - bend * u[:, axis]
        u[:, axis] = _lowest_on_a_line(tilt, bend, low[axis], high[axis])
    return u, first - value(u)


def _lowest_on_a_line(
    tilt: Float[np.ndarray, "draws"], bend: Float[np.ndarray, "draws"], low: float, high: float
) -> Float[np.ndarray, "draws"]:
    """The minimiser of tilt·u + ½ bend·u² over low ≤ u ≤ high."""
    lower_end = np.where(tilt + bend * (low + high) / 2 > 0, low, high)
    convex = bend > 0
    return np.where(convex, np.clip(-tilt / np.where(convex, bend, 1.0), low, high), lower_end)
