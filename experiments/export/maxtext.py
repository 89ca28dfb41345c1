"""MaxText's schedules.

A linear warm-up from 0, then a cosine over all other steps or, for `wsd`, the peak and a decay over the last
steps; decays reach their minimum at the last step. Source: `create_learning_rate_schedule` in
src/maxtext/utils/maxtext_utils.py of AI-Hypercomputer/maxtext at 00902f3 (2026); earlier versions warm up in
one step less.
"""

from collections.abc import Callable

import numpy as np

from experiments.export.native import (
    Fit,
    Steps,
    Style,
    cosine,
    deviation,
    fraction,
    linear,
    nearest,
    progress,
)
from experiments.export.schedule import Schedule


def maxtext_yaml(schedule: Schedule) -> str:
    """The part of MaxText's config that chooses its nearest schedule."""
    fit = nearest(schedule.learning_rates, STYLES)
    options = {
        "steps": fit.num_steps,
        "learning_rate_schedule_steps": fit.num_steps,
        "learning_rate": fit.peak,
        "warmup_steps_fraction": fraction(fit.warmup, fit.num_steps),
        "learning_rate_final_fraction": fit.minimum,
        **fit.style.options(fit),
    }
    return "\n".join(
        [
            f"# {schedule.origin}",
            f"# MaxText's nearest schedule: {deviation(fit.learning_rates, schedule.learning_rates)}",
            *(f"{name}: {value}" for name, value in options.items()),
        ]
    )


def _wsd(name: str, shape: Callable[[Steps], Steps], at_once: float) -> Style:
    """`at_once`: the fraction done of a decay of one step."""

    def options(fit: Fit) -> dict[str, float | str]:
        decay = fraction(fit.span, fit.num_steps)
        return {"lr_schedule_type": "wsd", "wsd_decay_steps_fraction": decay, "wsd_decay_style": name}

    def fall(steps: Steps, num_steps: int, warmup: int, span: int) -> Steps:
        return shape(_done(steps, num_steps - span, span, at_once))

    return Style(options, fall)


def _cosine_fall(steps: Steps, num_steps: int, warmup: int, span: int) -> Steps:
    return cosine(_done(steps, warmup, num_steps - warmup, 1.0))


def _done(steps: Steps, first: int, length: int, at_once: float) -> Steps:
    if length == 1:
        return np.where(steps < first, 0.0, at_once)
    return progress(steps, first, length - 1)


STYLES = (
    Style(lambda fit: {"lr_schedule_type": "cosine"}, _cosine_fall, spans=False),
    _wsd("linear", linear, 0.0),
    _wsd("cosine", cosine, 1.0),
)
