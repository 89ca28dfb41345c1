"""How a measure ranks runs: all of them, along one setting, in one environment; and what its choice loses.

A larger measure is to mean a larger error. Where a measure is infinite or NaN it says nothing, and the run
ranks last; `num_unranked` counts these. Errors are finite.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Shaped
from scipy import stats

Runs = Float[np.ndarray, "runs"]
Settings = Mapping[str, Shaped[np.ndarray, "runs"]]  # the hyper-parameters that runs differ in, by name


class Environment(NamedTuple):
    """Pairs of runs that differ in one setting alone, from this value to that one."""

    setting: str
    lower: float | str
    upper: float | str


class Choice(NamedTuple):
    """What choosing the run of the least measure comes to, in each draw of the errors; the mean where several
    share it.

    Attributes:
      hit: whether the choice is among the best runs.
      regret: by how much its error is above the least, in units of the range of the errors; in [0, 1].
    """

    hit: Float[np.ndarray, "*draws"] | np.floating
    regret: Float[np.ndarray, "*draws"] | np.floating


def num_unranked(measure: Runs) -> int:
    """The runs of which the measure says nothing.

    >>> num_unranked(np.array([1.0, np.inf, np.nan, -np.inf]))
    2
    """
    return int(np.sum(~(measure < np.inf)))


def kendall(
    measures: Float[np.ndarray, "*measures runs"], errors: Float[np.ndarray, "*draws runs"]
) -> Float[np.ndarray, "..."] | np.floating:
    """τ = Σ over i≠j of sgn(μᵢ - μⱼ) sgn(gᵢ - gⱼ) / N(N - 1), in [-1, 1]; a tie in either counts as 0.

    Of one measure or several, with one draw of the errors or several. SciPy's τ_b divides by the pairs that
    are not tied instead, and is not defined for a constant. Source: arXiv:1912.02178.

    >>> float(kendall(np.array([1.0, 1.0, 2.0]), np.array([0.1, 0.2, 0.3])).round(4))
    0.6667
    """
    ranks, count = _ranks(measures), errors.shape[-1]
    total = np.zeros(errors.shape[:-1] + measures.shape[:-1])
    for run in range(count - 1):
        signs = (np.sign(x[..., run + 1 :] - x[..., run, None]) for x in (errors, ranks))
        total += np.tensordot(*signs, axes=(-1, -1))
    return total[()] / (count * (count - 1) / 2)


def granulated(
    measures: Float[np.ndarray, "*measures runs"],
    errors: Float[np.ndarray, "*draws runs"],
    settings: Settings,
) -> dict[str, Float[np.ndarray, "..."] | np.floating]:
    """ψ of every setting: the mean τ within the groups of runs that agree in all other settings.

    Their mean, Ψ, tells a measure that explains the error from one that only follows a setting which explains
    it. Source: arXiv:1912.02178.

    Returns:
      Without the settings that no two such runs differ in.
    """
    correlations = {}
    for name in settings:
        groups = [rows for rows in _groups(settings, name) if len(np.unique(settings[name][rows])) > 1]
        if groups:
            taus = [kendall(measures[..., rows], errors[..., rows]) for rows in groups]
            correlations[name] = np.mean(taus, axis=0)
    return correlations


def sign_errors(measure: Runs, errors: Runs, settings: Settings, examples: int) -> dict[Environment, float]:
    """The weighted share of pairs that a measure orders otherwise than the errors, in every environment.

    Σ w ½(1 - sgn Δμ sgn Δg) / Σ w with the `hoeffding_weight` of Δg; ½ for a constant measure. The largest of
    them is the measure's robust sign error. Source: arXiv:2010.11924.

    Args:
      measure, errors: of the runs.
      settings: by name.
      examples: that each error is a mean over.

    Returns:
      Without the environments in which no pair of errors can be told apart.
    """
    ranks, shares = _ranks(measure), {}
    for name, values in settings.items():
        lower, upper = _ordered_pairs(settings, name)
        gaps = errors[upper] - errors[lower]
        weights = hoeffding_weight(gaps, examples)
        wrong = (1 - np.sign(ranks[upper] - ranks[lower]) * np.sign(gaps)) / 2
        ends = list(zip(values[lower].tolist(), values[upper].tolist(), strict=True))
        for change in sorted(set(ends)):
            pairs = [place for place, end in enumerate(ends) if end == change]
            if np.any(weights[pairs]):
                shares[Environment(name, *change)] = float(np.average(wrong[pairs], weights=weights[pairs]))
    return shares


def hoeffding_weight(gap: ArrayLike, examples: int) -> Float[np.ndarray, "*shape"] | np.floating:
    """max(0, 1 - 2 exp(-2n(Δ/2)²))², how surely two errors over n examples each differ as seen.

    >>> hoeffding_weight(np.array([0.02, 0.05]), 10_000).round(3)
    array([0.532, 1.   ])
    """
    return np.maximum(0, 1 - 2 * np.exp(-2 * examples * (np.asarray(gap) / 2) ** 2)) ** 2


def least_gap(examples: int) -> float:
    """The gap between two errors over n examples each below which `hoeffding_weight` is zero: √(2 ln 2 / n).

    >>> round(least_gap(360), 3), round(least_gap(10_000), 4)
    (0.062, 0.0118)
    """
    return float(np.sqrt(2 * np.log(2) / examples))


def choice(measure: Runs, errors: Float[np.ndarray, "*draws runs"], share: float = 0.2) -> Choice:
    """Whether the run of the least measure is in the `share` of least errors, and what it loses.

    >>> choice(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), np.array([0.1, 0.2, 0.3, 0.4, 0.5])).regret.item()
    0.25
    """
    ranks = _ranks(measure)
    chosen = np.compress(ranks == np.min(ranks), errors, axis=-1)
    bar = np.sort(errors)[..., max(1, int(share * len(measure))) - 1]
    least = np.min(errors, axis=-1)
    spread = np.max(errors, axis=-1) - least
    regret = np.mean(chosen - least[..., None], axis=-1) / np.where(spread > 0, spread, 1)
    return Choice(np.mean(chosen <= bar[..., None], axis=-1), regret)


def _ranks(values: Float[np.ndarray, "*measures runs"]) -> Float[np.ndarray, "*measures runs"]:
    """From the least up, with what is NaN beside the infinite."""
    return stats.rankdata(np.where(np.isnan(values), np.inf, values), axis=-1)


def _groups(settings: Settings, name: str) -> Iterator[Int[np.ndarray, "members"]]:
    """The rows of the runs that agree in all settings but that one."""
    codes = [np.unique(values, return_inverse=True)[1] for other, values in settings.items() if other != name]
    table = np.stack([np.zeros(len(settings[name]), int), *codes], axis=1)
    places = np.unique(table, axis=0, return_inverse=True)[1].ravel()
    return (np.flatnonzero(places == place) for place in range(np.max(places) + 1))


def _ordered_pairs(
    settings: Settings, name: str
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
    """The rows of all pairs of runs that differ in that setting alone, of its lower and its higher value."""
    pairs = [np.zeros((2, 0), int)]
    for rows in _groups(settings, name):
        values = settings[name][rows]
        pairs.append(rows[np.stack(np.nonzero(values[:, None] < values))])
    return tuple(np.concatenate(pairs, axis=1))
