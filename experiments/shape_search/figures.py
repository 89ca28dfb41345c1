"""The figures of a shape search, each as PNG bytes with its message as the title."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.shape_search.config import BASELINES
from experiments.shape_search.results import Results
from experiments.study.figures import (
    ACCENT,
    CONTEXT,
    REFERENCE,
    as_png,
    legend_beside,
    log_scale,
    panels,
    ranking,
)
from schedules.search import Standing

CURVE_POINTS = 400


def winning_shapes(results: Results) -> bytes:
    """Each family's winning learning rate over the horizon, the best one behind it."""
    titles = [f"{standing.name}  {standing.score.value:.3g}" for standing in results.standings]
    figure, axes = panels(titles, sharex=True, sharey=True)
    best = _learning_rates(results.best)
    for ax, standing in zip(axes, results.standings, strict=True):
        ax.plot(*best, color=CONTEXT, linewidth=3, solid_capstyle="round")
        ax.plot(*_learning_rates(standing), color=ACCENT)
    figure.supxlabel("fraction of training done")
    figure.supylabel("learning rate")
    legend_beside(figure, {"family's winner": ACCENT, f"best family's ({results.best.name})": CONTEXT})
    figure.suptitle(f"The best shape of each family, by {results.config.metric}")
    return as_png(figure)


def winner_scores(results: Results) -> bytes:
    """Every winner's confirmed score with its interval, best on top."""
    score = f"{results.config.metric}, median of {results.config.confirm_replicates} fresh seeds"
    return ranking(results.standings, BASELINES[0], score, "Which family wins, and how sure that is")


def score_against_rate(results: Results) -> bytes:
    """Every candidate's screening score against its base learning rate, the winner marked."""
    figure, axes = panels([standing.name for standing in results.standings], sharex=True, sharey=True)
    for ax, standing in zip(axes, results.standings, strict=True):
        screened = results.findings.screened[standing.name]
        rates = [one.candidate.base_lr for one in screened]
        _scatter(ax, rates, results.findings.told[standing.name], standing.winner.candidate.number)
    log_scale(axes[0], "x", results.config.learning_rates)
    log_scale(axes[0], "y", np.concatenate(list(results.findings.told.values())))
    figure.supxlabel("base learning rate")
    figure.supylabel(f"{results.config.metric} (screening)")
    legend_beside(figure, {"winner": ACCENT, "the family's other candidates": REFERENCE})
    figure.suptitle("Which learning rates each family was tried with, and what came of it")
    return as_png(figure)


def score_against_parameters(results: Results, standing: Standing) -> bytes:
    """The screening scores of one family's candidates against each of its parameters."""
    candidate, told = standing.winner.candidate, results.findings.told[standing.name]
    space = candidate.family.space
    figure, axes = panels([""] * len(space), sharey=True, columns=min(4, len(space)))
    for ax, (name, interval) in zip(axes, space.items(), strict=True):
        values = [one.candidate.params[name] for one in results.findings.screened[standing.name]]
        _scatter(ax, values, told, candidate.number)
        ax.set_xlim(interval.low, interval.high)
        if interval.log:
            ax.set_xscale("log")
        ax.set_xlabel(name)
    log_scale(axes[0], "y", told)
    figure.supylabel(results.config.metric)
    legend_beside(figure, {"winner": ACCENT, "screened candidate": REFERENCE})
    figure.suptitle(f"{standing.name}: score against each shape parameter")
    return as_png(figure)


def _scatter(ax: Axes, values: Sequence[float], scores: Sequence[float], winner: int) -> None:
    ax.scatter(values, scores, s=10, color=REFERENCE)
    ax.scatter(values[winner], scores[winner], s=60, color=ACCENT, marker="*", zorder=3)


def _learning_rates(standing: Standing) -> tuple[np.ndarray, np.ndarray]:
    candidate = standing.winner.candidate
    multipliers = np.asarray(candidate.family.multipliers(candidate.params, CURVE_POINTS))
    return np.arange(CURVE_POINTS) / CURVE_POINTS, candidate.base_lr * multipliers
