"""The figures of a shape search, each as PNG bytes with its message as the title."""

import numpy as np

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
from schedules.search import Screened, Standing, dkw_half_width

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


def score_distributions(results: Results) -> bytes:
    """The distribution of each family's screening scores with its confidence band, all others behind it."""
    figure, axes = panels([standing.name for standing in results.standings], sharex=True, sharey=True)
    scores = {name: np.array([one.score for one in of]) for name, of in results.findings.screened.items()}
    for ax, standing in zip(axes, results.standings, strict=True):
        for other in scores.values():
            ax.step(*_ecdf(other), where="post", color=CONTEXT, linewidth=0.8)
        x, fraction = _ecdf(scores[standing.name])
        width = dkw_half_width(len(scores[standing.name]), results.config.confidence)
        low, high = np.clip(fraction - width, 0, 1), np.clip(fraction + width, 0, 1)
        ax.fill_between(x, low, high, step="post", color=ACCENT, alpha=0.25, linewidth=0)
        ax.step(x, fraction, where="post", color=ACCENT)
    log_scale(axes[0], "x", np.concatenate(list(scores.values())))
    figure.supxlabel(f"{results.config.metric} of a shape at its best learning rate (screening)")
    figure.supylabel("fraction of shapes at or below")
    legend_beside(
        figure, {f"family, with {results.config.confidence:.0%} band": ACCENT, "the other families": CONTEXT}
    )
    figure.suptitle("How easily a random shape of each family is good: further left is better")
    return as_png(figure)


def score_against_rate(results: Results) -> bytes:
    """Each shape's screening score over base learning rates, the winner's in colour."""
    figure, axes = panels([standing.name for standing in results.standings], sharex=True, sharey=True)
    grid = results.config.grid
    curves = {
        one.shape: _rate_curve(one, grid)
        for of_family in results.findings.screened.values()
        for one in of_family
    }
    rates, scores = (np.concatenate(values) for values in zip(*curves.values(), strict=True))
    for ax, standing in zip(axes, results.standings, strict=True):
        winner = standing.winner.screened
        for one in results.findings.screened[standing.name]:
            ax.plot(*curves[one.shape], color=CONTEXT, linewidth=0.6)
        ax.plot(*curves[winner.shape], color=ACCENT, linewidth=1.8)
        ax.plot(standing.winner.base_lr, winner.score, "o", color=ACCENT)
    log_scale(axes[0], "x", rates)
    log_scale(axes[0], "y", scores)
    figure.supxlabel("base learning rate")
    figure.supylabel(f"{results.config.metric} (screening median)")
    legend_beside(figure, {"winning shape and its best rate": ACCENT, "the family's other shapes": CONTEXT})
    figure.suptitle("Every shape is judged at its own best base learning rate")
    return as_png(figure)


def score_against_parameters(results: Results, standing: Standing) -> bytes:
    """The screening scores of one family's shapes against each of its parameters."""
    screened = results.findings.screened[standing.name]
    space = standing.winner.screened.shape.family.space
    figure, axes = panels([""] * len(space), sharey=True, columns=min(4, len(space)))
    for ax, (name, interval) in zip(axes, space.items(), strict=True):
        values, scores = zip(*((one.shape.params[name], one.score) for one in screened), strict=True)
        ax.scatter(values, scores, s=10, color=REFERENCE)
        winner = standing.winner.screened
        ax.scatter(winner.shape.params[name], winner.score, s=60, color=ACCENT, marker="*", zorder=3)
        ax.set_xlim(interval.low, interval.high)
        if interval.log:
            ax.set_xscale("log")
        ax.set_xlabel(name)
    log_scale(axes[0], "y", [one.score for one in screened])
    figure.supylabel(results.config.metric)
    legend_beside(figure, {"winner": ACCENT, "screened shape": REFERENCE})
    figure.suptitle(f"{standing.name}: score against each shape parameter")
    return as_png(figure)


def _learning_rates(standing: Standing) -> tuple[np.ndarray, np.ndarray]:
    winner = standing.winner
    shape = winner.screened.shape
    multipliers = np.asarray(shape.family.multipliers(shape.params, CURVE_POINTS))
    return np.arange(CURVE_POINTS) / CURVE_POINTS, winner.base_lr * multipliers


def _ecdf(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    finite = np.sort(scores[np.isfinite(scores)])
    return finite, np.arange(1, len(finite) + 1) / len(scores)


def _rate_curve(screened: Screened, grid) -> tuple[list[float], list[float]]:
    measured = sorted(screened.scores)
    return [grid[rate] for rate in measured], [screened.scores[rate] for rate in measured]
