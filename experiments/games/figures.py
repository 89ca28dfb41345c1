"""The figures of the games, each as PNG bytes with its message as the title."""

import numpy as np

from experiments.games.config import REFERENCE as BASELINE
from experiments.games.methods import METHODS, RULES
from experiments.games.runs import Results
from experiments.games.selection import best_mean
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, finished, log_scale, panels

HUES = ("#0b6fb8", "#e08214", "#1b7837")  # of games


def scores(results: Results) -> bytes:
    """Every method's confirmed distance with its interval, a panel a game."""
    figure, axes = panels([*results.standings], columns=3, sharey=True)
    names = [name for name in METHODS if name in results.config.compared]
    figure.set_size_inches(10.5, 1.2 + 0.3 * len(names))
    for ax, ranked in zip(axes, results.standings.values(), strict=True):
        for standing in ranked:
            place, (value, low, high) = names.index(standing.name), standing.score
            color = ACCENT if standing.name in RULES else REFERENCE
            ax.plot([low, high], [place, place], color=color, linewidth=3)
            ax.plot(value, place, "o", color=color)
        baseline = next(standing for standing in ranked if standing.name == BASELINE)
        ax.axvline(baseline.score.value, color=CONTEXT, zorder=0)
        log_scale(ax, "x", [end for standing in ranked for end in standing.score])
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    figure.supxlabel(
        f"distance after {results.config.num_steps:,} steps, median of"
        f" {results.config.confirm_replicates} fresh seeds",
        fontsize=9,
    )
    colors = {"conjugate gradients": ACCENT, "others": REFERENCE, f"{BASELINE}'s median": CONTEXT}
    return finished(figure, "Do conjugate gradients bring two players nearer?", colors)


def rates(results: Results) -> bytes:
    """Every method's distance in the screening over learning rates, a line a game."""
    names = [name for name in METHODS if name in results.config.compared]
    figure, axes = panels(names, columns=4, sharex=True, sharey=True)
    colors = dict(zip(results.standings, HUES, strict=False))
    points = []
    for game, color in colors.items():
        for standing in results.standings[game]:
            curve = standing.winner.curve(None)
            axes[names.index(standing.name)].plot(
                *zip(*curve, strict=True), ".-", color=color, linewidth=1, markersize=3
            )
            points += curve
    log_scale(axes[0], "x", [rate for rate, _ in points])
    log_scale(axes[0], "y", [min(score, 100.0) for _, score in points if np.isfinite(score)])
    figure.supxlabel("learning rate", fontsize=9)
    figure.supylabel("distance (screening)", fontsize=9)
    return finished(figure, "How each method depends on its learning rate", colors)


def selection(results: Results) -> bytes:
    """The mean score of the best of so many settings over that of the few, a mean over methods."""
    config, averaged = results.config, results.config.averaged_settings
    figure, axes = panels([*results.standings], columns=3, sharey=True)
    figure.set_size_inches(9, 3.2)
    counts = np.unique(np.geomspace(averaged, 2 * config.many_settings, 24).astype(int))
    for ax, scores in zip(axes, results.screened.values(), strict=True):
        means = np.array([[best_mean(v, int(n), averaged) for n in counts] for v in scores.values()])
        few = np.array([best_mean(v, config.few_settings, averaged) for v in scores.values()])
        told, kept = np.nanmean(means / few[:, None, :], axis=0).T
        ax.plot(counts, kept, color=REFERENCE)
        ax.plot(counts, told, color=ACCENT)
        ax.axhline(1, color=CONTEXT, zorder=0)
        for count in (config.few_settings, config.many_settings):
            ax.axvline(count, color=CONTEXT, zorder=0)
        log_scale(ax, "x", counts)
    figure.supxlabel(f"settings of which the best {averaged} are told", fontsize=9)
    axes[0].set_ylabel(f"mean distance over that of {config.few_settings}", fontsize=9)
    colors = {"by the runs that chose": ACCENT, "by other seeds": REFERENCE}
    return finished(figure, "What choosing among more settings is worth by itself", colors)
