"""What a score may be, and how scores are compared: by ratios where all are positive, else by differences.

Losses and errors are positive, and a seed's luck is a factor that its scores share. Negative log-likelihoods,
ELBOs and negated rewards have any sign: a ratio of them means nothing, and luck is a term.
"""

import enum
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Numbers = float | Sequence[float] | np.ndarray


def as_scores(scores: Numbers) -> Float[np.ndarray, "*shape"]:
    """Scores in float64. Raises ValueError for NaN and -inf: a run that diverged scores +inf."""
    scores = np.asarray(scores, np.float64)
    if not np.all(scores > -np.inf):
        raise ValueError(
            f"scores must be numbers, or +inf where a run diverged, neither NaN nor -inf, got {scores}"
        )
    return scores


class Scale(enum.Enum):
    """How far a score lies from another one: as a fraction of it, or in the metric's own unit.

    >>> Scale.of(np.array([0.5, np.inf]), np.array([0.25]))
    <Scale.RELATIVE: 'relative'>
    >>> Scale.of(np.array([0.5, 0.0]))
    <Scale.ABSOLUTE: 'absolute'>
    >>> Scale.ABSOLUTE.changes(np.array([-1.0, np.inf]), np.array([-3.0, np.inf]))
    array([2., 0.])
    """

    RELATIVE = "relative"
    ABSOLUTE = "absolute"

    @classmethod
    def of(cls, *scores: Numbers) -> "Scale":
        """RELATIVE where all that is compared, in one table or one search, is positive."""
        return cls.RELATIVE if all(np.all(np.greater(group, 0)) for group in scores) else cls.ABSOLUTE

    @property
    def unit(self) -> str:
        """What a heading says that changes are told in."""
        return "%" if self is Scale.RELATIVE else "difference"

    @property
    def noun(self) -> str:
        """What a sentence calls a change."""
        return "change" if self is Scale.RELATIVE else "difference"

    def levels(self, scores: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """log(score) or the score itself: what a seed's luck adds to."""
        with np.errstate(divide="ignore"):
            return np.log(scores) if self is Scale.RELATIVE else np.asarray(scores, np.float64)

    def scores(self, levels: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The scores of levels; +inf where one is too large for a number."""
        with np.errstate(over="ignore"):
            return np.exp(levels) if self is Scale.RELATIVE else np.asarray(levels, np.float64)

    def changes(self, scores: Numbers, reference: Numbers) -> Float[np.ndarray, "*shape"]:
        """score / reference - 1 or score - reference, 0 where both are zero or both diverged."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self is Scale.RELATIVE:
                changes = np.divide(scores, reference) - 1
            else:
                changes = np.subtract(scores, reference)
        return np.where(np.isnan(changes), 0.0, changes)

    def in_unit(self, changes: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Changes as they are drawn: in per cent, or in the metric's unit."""
        return np.asarray(100 * changes if self is Scale.RELATIVE else changes)

    def text(self, change: float, digits: int = 0, sign: str = "") -> str:
        """A change in per cent with so many digits, or in the metric's unit.

        >>> Scale.RELATIVE.text(0.125, 1, "+"), Scale.ABSOLUTE.text(0.125, sign="+")
        ('+12.5%', '+0.125')
        """
        return f"{change:{sign}.{digits}%}" if self is Scale.RELATIVE else f"{change:{sign}.3g}"
