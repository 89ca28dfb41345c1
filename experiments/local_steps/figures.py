"""The figures of the study, each as PNG bytes with its message as the title."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from experiments.local_steps.config import METHODS
from experiments.local_steps.outcome import Outcome
from experiments.local_steps.runs import Results
from experiments.study.showing.figures import finished, log_scale, panels

HUES = (
    "#222222 #0b6fb8 #6baed6 #e08214 #b2182b #fdb863 #1b7837 #a6dba0 #5aae61 #7b3294 #c2a5cf".split()  # noqa: SIM905
)
COLORS = dict(zip(METHODS, HUES, strict=True))


def over_steps(results: Results) -> bytes:
    """The best of each method, its median run over steps."""
    steps = np.array(results.config.curve_steps, float)
    return _curves(results, lambda outcome: steps, "steps", "What local steps cost, step by step")


def over_bytes(results: Results) -> bytes:
    """The same over what a worker has sent by then."""
    steps = np.array(results.config.curve_steps, float)
    return _curves(
        results,
        lambda outcome: outcome.traffic.bytes(steps) / 1e6,
        "MB that a worker has sent",
        "What the same loss takes in bytes",
    )


def _curves(
    results: Results, places: Callable[[Outcome], Float[np.ndarray, "points"]], axis: str, message: str
) -> bytes:
    settings, shown = results.settings(), {}
    figure, axes = panels(list(settings), columns=2, sharey=True)
    for ax, outcomes in zip(axes, settings.values(), strict=True):
        drawn_methods = {}
        for outcome in outcomes:  # the best first
            drawn_methods.setdefault(outcome.contestant.method, outcome)
        for method, outcome in drawn_methods.items():
            ax.plot(places(outcome), outcome.curve, color=COLORS[method], linewidth=1.2)
            shown[method] = COLORS[method]
        log_scale(ax, "x", [place for outcome in drawn_methods.values() for place in places(outcome)])
    curves = [outcome.curve for outcomes in settings.values() for outcome in outcomes]
    log_scale(axes[0], "y", [value for curve in curves for value in curve])
    figure.supxlabel(axis)
    figure.supylabel(results.config.metric)
    return finished(figure, message, shown)
