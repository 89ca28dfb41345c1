"""The figures of the study, each as PNG bytes with its message as the title."""

import numpy as np

from experiments.flatness.claims import ERROR, SHARPNESS_AWARE
from experiments.flatness.config import GRADIENTS, METHODS, REFERENCE
from experiments.flatness.digits import LARGEST
from experiments.flatness.runs import Outcome, Results
from experiments.study.showing.figures import finished, log_scale, panels
from schedules.search import median_estimate

HUES = "#6baed6 #222222 #1b7837 #7b3294 #c2a5cf #e08214 #b2182b #8a8a8a #d5d5d5".split()  # noqa: SIM905
COLORS = dict(zip(METHODS, HUES, strict=True))


def minima(results: Results) -> bytes:
    """Every method's test error over the largest eigenvalue of its Hessian, a panel a share of flipped
    labels, at equal gradients."""
    config, drawn = results.config, []
    figure, axes = panels([f"{flipped:.0%} flipped" for flipped in config.flipped], columns=3, sharex=True)
    for ax, flipped in zip(axes, config.flipped, strict=True):
        shown = []
        for method in config.compared:
            metrics = results.best(method, GRADIENTS, flipped).metrics
            flatness, error = (median_estimate(metrics[name], config.confidence) for name in (LARGEST, ERROR))
            ax.plot([flatness.low, flatness.high], [error.value] * 2, color=COLORS[method])
            ax.plot([flatness.value] * 2, [error.low, error.high], color=COLORS[method])
            ax.plot(flatness.value, error.value, "o", color=COLORS[method], markersize=4)
            shown += error
            drawn += flatness
        log_scale(ax, "y", shown)
    log_scale(axes[0], "x", drawn)
    figure.supxlabel("largest eigenvalue of the Hessian")
    figure.supylabel("test error")
    shown_colors = {method: COLORS[method] for method in config.compared}
    return finished(figure, "Which methods end where it is flat, and which err least", shown_colors)


def radii(results: Results) -> bytes:
    """The test error and the largest eigenvalue over the radius of sam and, five times as large, of asam."""
    config = results.config
    rows = {ERROR: "test error", LARGEST: "largest eigenvalue"}
    titles = [f"{words}, {flipped:.0%} flipped" for words in rows.values() for flipped in config.flipped]
    figure, axes = panels(titles, columns=len(config.flipped), sharex=True)
    methods = [method for method in SHARPNESS_AWARE if method in config.compared]
    for ax, (metric, flipped) in zip(axes, ((m, f) for m in rows for f in config.flipped), strict=True):
        level = _median(results.best(REFERENCE, GRADIENTS, flipped), metric)
        ax.axhline(level, color=COLORS[REFERENCE], linestyle="--")
        shown = [level]
        for method in methods:
            curve = [_median(outcome, metric) for outcome in results.by_radius(method, GRADIENTS, flipped)]
            ax.plot(config.radii, curve, ".-", color=COLORS[method])
            shown += curve
        log_scale(ax, "y", shown)
    log_scale(axes[0], "x", config.radii)
    figure.supxlabel("radius; a fifth of asam's")
    colors = {method: COLORS[method] for method in (REFERENCE, *methods)}
    return finished(figure, "What the radius does to the error and to the curvature", colors)


def _median(outcome: Outcome, metric: str) -> float:
    return float(np.median(outcome.metrics[metric]))
