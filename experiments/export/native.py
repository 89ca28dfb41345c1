"""The nearest of a trainer's own schedules to a table of learning rates.

All that is known here has a linear warm-up and then a decay of some style. Every style is fitted by least
squares: its rates in closed form, its whole numbers of steps by a grid and a search around the best of it.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from experiments.export.search import Place, best_place

Steps = Float[np.ndarray, "steps"]
MOST_FITTED = 2_000  # evenly spaced steps of a table that are looked at
TIE = 9  # digits of a residual relative to the peak; what differs by less is equal
DIGITS = 6  # of the numbers that a trainer is told: significant ones of rates, decimals of fractions


class Style(NamedTuple):
    """A way to decay that a trainer knows.

    Attributes:
      options: (fit) → what the trainer is told beside the peak and the warm-up, by name.
      fall: (steps, num_steps, warmup, span) → what is left of the decay after the warm-up, from 1 to 0.
      spans: whether it takes a further number of steps, from 1 to those that follow the warm-up.
      floored: whether it decays to a minimum that can be chosen, in place of 0.
    """

    options: Callable[["Fit"], dict[str, int | float | str]]
    fall: Callable[[Steps, int, int, int], Steps]
    spans: bool = True
    floored: bool = True


class Fit(NamedTuple):
    """A trainer's schedule: start + (peak - start)·t/warmup for t < warmup, then
    minimum + (peak - minimum)·fall.

    Attributes:
      span: the further number of steps of its style, 0 where that takes none.
      peak: a learning rate.
      minimum: as a fraction of the peak.
      start: that of the warm-up, as a fraction of the peak.
    """

    style: Style
    num_steps: int
    warmup: int
    span: int
    peak: float
    minimum: float
    start: float

    @property
    def learning_rates(self) -> Steps:
        steps = np.arange(self.num_steps)
        parts = _parts(self.style, steps, self.num_steps, self.warmup, self.span)
        return self.peak * (parts @ [1 - self.minimum, self.minimum, self.start])


class Deviation(NamedTuple):
    """Of a table from the one that is wanted: relative to the norm of that, and the largest to its peak."""

    norm: float
    largest: float

    def __str__(self) -> str:
        return f"relative L2 {100 * self.norm:.3g} %, largest {100 * self.largest:.3g} % of the peak"


def deviation(rates: Steps, wanted: Steps) -> Deviation:
    norm, peak = np.linalg.norm(wanted), wanted.max()
    if not peak:  # a single step, with which a warm-up begins
        norm = peak = 1.0
    return Deviation(np.linalg.norm(rates - wanted) / norm, np.abs(rates - wanted).max() / peak)


def nearest(wanted: Steps, styles: Sequence[Style], *, starts: bool = False) -> Fit:
    """The fit of least squares among those of all styles, the first where several are equal.

    Args:
      wanted: learning rates, none negative.
      styles: of the trainer, the plainest first.
      starts: whether its warm-up may start above 0.
    """
    fits = [_fitted(wanted, style, starts) for style in styles]
    return min(fits, key=lambda pair: pair[0])[1]


def progress(steps: Steps, first: int, span: int) -> Steps:
    """The fraction done of a change over `span` steps from `first` on."""
    return np.clip((steps - first) / span, 0, 1)


def rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def linear(done: Steps) -> Steps:
    """What is left of a linear decay once a fraction is done."""
    return 1 - done


def cosine(done: Steps) -> Steps:
    return (1 + np.cos(np.pi * done)) / 2


def whole(steps: Steps, num_steps: int, warmup: int, span: int) -> Steps:
    """No decay."""
    return np.ones(len(steps))


def fraction(count: int, num_steps: int) -> float:
    """The least fraction of which int(fraction · num_steps) is `count`: those of two counts that make up all
    steps do not exceed 1 together.

    >>> fraction(13, 100), fraction(29, 100)
    (0.13, 0.29000000000000004)
    """
    quotient = count / num_steps
    return quotient if int(quotient * num_steps) == count else math.nextafter(quotient, 1)


def _fitted(wanted: Steps, style: Style, starts: bool) -> tuple[float, Fit]:
    """The residual of a style relative to the peak, and its fit."""
    num_steps, scale = len(wanted), wanted.max() or 1.0
    steps = np.unique(np.linspace(0, num_steps - 1, min(num_steps, MOST_FITTED)).astype(int))
    target, free = wanted[steps] / scale, [1, style.floored, starts]

    def spans(place: Place) -> Place:
        warmup, rest = place
        return warmup, num_steps - warmup - rest if style.spans else 0

    def rates(place: Place) -> tuple[Float[np.ndarray, "3"], float]:
        """The best, and their residual."""
        return nnls(_parts(style, steps, num_steps, *spans(place)) * free, target)

    @functools.cache
    def residual(place: Place) -> float:
        (height, minimum, start), norm = rates(place)
        return np.inf if start > height + minimum else round(norm, TIE)

    place = best_place(residual, num_steps, second=style.spans)
    return residual(place), Fit(style, num_steps, *spans(place), *_told(scale * rates(place)[0]))


def _parts(
    style: Style, steps: Steps, num_steps: int, warmup: int, span: int
) -> Float[np.ndarray, "steps 3"]:
    """What the schedule has of the peak less the minimum, of the minimum, and of the start."""
    risen, rising = steps / max(warmup, 1), steps < warmup
    fallen = style.fall(steps, num_steps, warmup, span)
    parts = np.where(rising, risen, fallen), np.where(rising, risen, 1), np.where(rising, 1 - risen, 0)
    return np.stack(parts, axis=1)


def _told(rates: Float[np.ndarray, "3"]) -> tuple[float, ...]:
    """Peak, minimum and start as a trainer is told them."""
    height, minimum, start = rates
    peak = height + minimum
    return rounded(peak), *(round(rate / (peak or 1), DIGITS) for rate in (minimum, start))
