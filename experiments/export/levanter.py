"""Levanter's schedules.

A linear warm-up from 0, the peak, and a decay over the last steps. Source: `OptimizerConfig.lr_scheduler` in
lib/levanter/src/levanter/optim/config.py of marin-community/marin, where Levanter is developed, at 0f45aa1
(2026). Its cycles and its styles `inv`, `inv_sqrt_decay` and `power` are left out.
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
    whole,
)
from experiments.export.schedule import Schedule

POWERS = (0.25, 0.5, 1.5, 2.0, 3.0)


def levanter_yaml(schedule: Schedule) -> str:
    """The part of Levanter's config that chooses its nearest schedule."""
    fit = nearest(schedule.learning_rates, STYLES)
    options = {
        "learning_rate": fit.peak,
        "warmup": fraction(fit.warmup, fit.num_steps),  # a 1 would not be read as one step
        **fit.style.options(fit),
    }
    return "\n".join(
        [
            f"# {schedule.origin}",
            f"# Levanter's nearest schedule: {deviation(fit.learning_rates, schedule.learning_rates)}",
            "trainer:",
            f"  num_train_steps: {fit.num_steps}",
            "optimizer:",
            *(f"  {name}: {value}" for name, value in options.items()),
        ]
    )


def _decay(name: str, shape: Callable[[Steps], Steps]) -> Style:
    """A decay to a minimum over the last `span` steps."""

    def options(fit: Fit) -> dict[str, float | str]:
        decay = fraction(fit.span, fit.num_steps)
        return {"lr_schedule": name, "decay": decay, "min_lr_ratio": fit.minimum}

    def fall(steps: Steps, num_steps: int, warmup: int, span: int) -> Steps:
        return shape(progress(steps, num_steps - span, span))

    return Style(options, fall)


def _polynomial(power: float) -> Style:
    return _decay(f"{{type: polynomial, power: {power}}}", lambda done: (1 - done) ** power)


def _inverse_sqrt() -> Style:
    """min(1, √(span / t)), t from the start of the run; all others decay over the last steps."""

    def options(fit: Fit) -> dict[str, float | str]:
        return {"lr_schedule": f"{{type: inv_sqrt, timescale: {fit.span}}}", "min_lr_ratio": 0.0}

    def fall(steps: Steps, num_steps: int, warmup: int, span: int) -> Steps:
        return np.minimum(1, np.sqrt(span / np.maximum(steps, 1)))

    return Style(options, fall, floored=False)


STYLES = (
    Style(lambda fit: {"lr_schedule": "constant"}, whole, spans=False, floored=False),
    _decay("linear", linear),
    _decay("cosine", cosine),
    _inverse_sqrt(),
    *map(_polynomial, POWERS),
)
