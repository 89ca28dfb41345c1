"""The figures of a study of search efficiency, each as PNG bytes with its message as the title."""

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

from experiments.search_efficiency.config import DEFAULT, RANDOM
from experiments.search_efficiency.runs import Results
from experiments.search_efficiency.searches import Search
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished, log_scale, panels
from schedules.search import median_estimate

OTHER_COLORS = ("#08306b", "#6baed6", "#e08214", "#5aae61", "#9970ab", "#c51b7d", "#8c510a", "#35978f")
CURVE_POINTS = 200


def reached(results: Results) -> bytes:
    """The fraction of searches that knew a near-optimal shape, against cost."""
    figure, axes = panels(results.config.families, columns=2, sharey=True, sharex=True)
    for ax, family in zip(axes, results.config.families, strict=True):
        for strategy, color in _colors(results).items():
            efficiency = results.efficiency[family, strategy]
            arrived = np.sort(efficiency.costs[np.isfinite(efficiency.costs)])
            costs = np.concatenate([[1], arrived, [efficiency.budget]])
            fractions = np.concatenate([np.arange(len(arrived) + 1), [len(arrived)]]) / len(efficiency.costs)
            ax.step(costs, fractions, where="post", color=color)
        log_scale(ax, "x", [1, *results.config.budgets.values()])
        ax.set_ylim(-0.02, 1.02)
    figure.supxlabel("cost in full-length runs")
    figure.supylabel("fraction of searches")
    return finished(figure, f"Who is within {results.config.tolerance:.0%} of the best", _colors(results))


def excesses(results: Results) -> bytes:
    """The median over searches of how far what they knew lies above the best known, against cost."""
    config = results.config
    figure, axes = panels(config.families, columns=2, sharey=True, sharex=True)
    shown = []
    for ax, family in zip(axes, config.families, strict=True):
        best = results.judged.known[family].score
        ax.axhline(_drawn(results.near(family), best, results), color=CONTEXT, zorder=0)
        for strategy, color in _colors(results).items():
            costs = np.geomspace(1, config.budgets[strategy], CURVE_POINTS)
            known = [
                results.judged.incumbents[Search(family, strategy, seed)].scores_at(costs)
                for seed in range(config.seeds)
            ]
            excess = _drawn(np.median(known, axis=0), best, results)
            ax.plot(costs, excess, color=color)
            shown.extend(excess[excess > 0])
    for ax in axes:
        log_scale(ax, "x", [1, *config.budgets.values()])
        log_scale(ax, "y", shown)
    figure.supxlabel("cost in full-length runs")
    figure.supylabel(f"above the best known, {results.judged.scale.unit}")
    return finished(figure, "How near a search is to the best", {**_colors(results), "near-optimal": CONTEXT})


def selection_bias(results: Results) -> bytes:
    """Each winner's naive and fresh score relative to its truth."""
    figure, ax = chart(9, 4)
    for place, winner in enumerate(results.judged.winners.values()):
        truth = np.median(winner.truth)
        fresh = median_estimate(winner.fresh, results.config.confidence)
        value, low, high = _drawn(np.array(fresh), truth, results)
        ax.plot([place, place], [low, high], color=ACCENT, linewidth=2)
        ax.plot(place, value, "o", color=ACCENT, markersize=4)
        ax.plot(place, _drawn(winner.naive, truth, results), "x", color=OTHER_COLORS[2])
    ax.axhline(0, color=REFERENCE, zorder=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(f"search by {DEFAULT}")
    ax.set_ylabel(f"score of its winner above the truth, {results.judged.scale.unit}")
    labels = {"naive: the score that chose it": OTHER_COLORS[2], "fresh seeds, with interval": ACCENT}
    message = "Do the scores that choose a winner flatter it?"
    return finished(figure, message, {**labels, "truth": REFERENCE})


def _drawn(scores: float | np.ndarray, reference: float, results: Results) -> Float[np.ndarray, "*shape"]:
    """How far scores lie above a reference, in the scale's unit."""
    return results.judged.scale.in_unit(results.judged.scale.changes(scores, reference))


def _colors(results: Results) -> dict[str, str]:
    others = [name for name in results.config.budgets if name not in (DEFAULT, RANDOM)]
    colors = dict(zip(others, OTHER_COLORS * len(others), strict=False))
    return {DEFAULT: ACCENT, **colors, RANDOM: REFERENCE}
