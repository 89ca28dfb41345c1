"""Megatron-LM's schedules.

A linear warm-up, then a decay of some style: at once, ending with `--lr-decay-iters`, or for `WSD` over the
last steps. Source: `OptimizerParamScheduler.get_lr` in megatron/core/optimizer_param_scheduler.py of
NVIDIA/Megatron-LM at 00caa53 (2026), which counts batches with `--train-iters`; earlier versions lack
`minus_sqrt`.
"""

from collections.abc import Callable

import numpy as np

from experiments.export.native import (
    Fit,
    Steps,
    Style,
    cosine,
    deviation,
    linear,
    nearest,
    progress,
    rounded,
    whole,
)
from experiments.export.schedule import Schedule


def megatron_arguments(schedule: Schedule) -> str:
    """A Bash array of the arguments that choose Megatron-LM's nearest schedule."""
    fit = nearest(schedule.learning_rates, STYLES, starts=True)
    options = {
        "train-iters": fit.num_steps,
        "lr": fit.peak,
        "lr-warmup-iters": fit.warmup,
        "lr-warmup-init": rounded(fit.start * fit.peak),
        "min-lr": rounded(fit.minimum * fit.peak),
        **fit.style.options(fit),
    }
    return "\n".join(
        [
            f"# {schedule.origin}",
            f"# Megatron-LM's nearest schedule: {deviation(fit.learning_rates, schedule.learning_rates)}",
            "LEARNING_RATE_ARGS=(",
            *(f"    --{name} {value}" for name, value in options.items()),
            ")",
        ]
    )


def _decay(name: str, shape: Callable[[Steps], Steps]) -> Style:
    """A decay over the `span` steps after the warm-up, then the minimum."""

    def options(fit: Fit) -> dict[str, int | str]:
        return {"lr-decay-style": name, "lr-decay-iters": fit.warmup + fit.span}

    def fall(steps: Steps, num_steps: int, warmup: int, span: int) -> Steps:
        return shape(progress(steps, warmup, span))

    return Style(options, fall)


def _wsd(name: str, shape: Callable[[Steps], Steps]) -> Style:
    """A decay over the last `span` steps."""

    def options(fit: Fit) -> dict[str, int | str]:
        return {
            "lr-decay-style": "WSD",
            "lr-wsd-decay-style": name,
            "lr-decay-iters": fit.num_steps,
            "lr-wsd-decay-iters": fit.span,
        }

    def fall(steps: Steps, num_steps: int, warmup: int, span: int) -> Steps:
        return shape(progress(steps, num_steps - span, span))

    return Style(options, fall)


def _inverse_sqrt(steps: Steps, num_steps: int, warmup: int, span: int) -> Steps:
    return np.sqrt(max(warmup, 1) / np.maximum(steps, max(warmup, 1)))


STYLES = (
    Style(lambda fit: {"lr-decay-style": "constant"}, whole, spans=False, floored=False),
    _decay("linear", linear),
    _decay("cosine", cosine),
    Style(lambda fit: {"lr-decay-style": "inverse-square-root"}, _inverse_sqrt, spans=False, floored=False),
    _wsd("linear", linear),
    _wsd("cosine", cosine),
    _wsd("exponential", lambda done: 2 * 0.5**done - 1),
    _wsd("minus_sqrt", lambda done: 1 - np.sqrt(done)),
)
