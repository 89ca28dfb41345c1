"""The figures of a study of generalisation, each as PNG bytes with its message as the title."""

import matplotlib
import numpy as np

from experiments.generalization.gaps import CLAIMED, CRITERIA
from experiments.generalization.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished, log_scale, ranking


def gaps(results: Results) -> bytes:
    """Every run's gap against what the criterion predicts, coloured by train size."""
    measured = results.measured
    predicted = measured.predictions[CLAIMED]
    shown = (measured.gaps > 0) & (predicted > 0)
    by_size = {n: c.estimate(CLAIMED) for n, c in results.rankings.by_size.items()}
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.1, 0.9, len(by_size)))
    colors = dict(zip(by_size, shades, strict=True))
    figure, ax = chart(9, 5.5)
    for size, color in colors.items():
        chosen = shown & (measured.sizes == size)
        ax.plot(predicted[chosen], measured.gaps[chosen], "o", color=color, markersize=4, alpha=0.7)
    ax.axline((0.1, 0.1), (1, 1), color=REFERENCE, zorder=0)
    log_scale(ax, "x", predicted[shown])
    log_scale(ax, "y", measured.gaps[shown])
    left_out = "" if shown.all() else f" ({np.sum(~shown)} runs at or below 0 are not shown)"
    ax.set_xlabel(f"predicted gap: {CLAIMED}{left_out}")
    ax.set_ylabel("measured gap: test loss - train loss")
    labels = {f"n = {size}, rank corr. {by_size[size].value:.2f}": color for size, color in colors.items()}
    return finished(figure, "Is the gap what the criterion says?", labels | {"equal": REFERENCE})


def correlations(results: Results) -> bytes:
    """Each predictor's rank correlation with its interval, over all runs and at equal train size."""
    overall, _, equal_size = results.rankings
    names = equal_size.best_first
    figure, ax = chart(9, 1.4 + 0.4 * len(names), framed=True)
    for place, name in enumerate(names):
        color = ACCENT if name in CRITERIA else REFERENCE
        for estimate, height, width, marker in (
            (equal_size.estimate(name), place - 0.12, 3, "o"),
            (overall.estimate(name), place + 0.18, 1, "|"),
        ):
            ax.plot([estimate.low, estimate.high], [height, height], color=color, linewidth=width)
            ax.plot(estimate.value, height, marker, color=color)
    ax.axvline(0, color=CONTEXT, zorder=0)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlim(-1, 1)
    ax.set_xlabel("Spearman's rank correlation with the gap; thick: at equal n, thin: over all n")
    return finished(
        figure,
        "Which predictor ranks the generalisation gap?",
        {"information criterion": ACCENT, "control": REFERENCE},
    )


def halving(results: Results) -> bytes:
    """The test loss of what each criterion's halving leaves, with its interval."""
    score = f"test loss of the candidate that remains, median of {results.config.halving_replicates} replays"
    return ranking(results.standings, "random", score, "What should halving prune by?")
