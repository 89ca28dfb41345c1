"""The figures of all screened candidates, each as PNG bytes with its message as the title."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.shape_search.candidates import best_so_far, shape_scores
from experiments.shape_search.importance import BASE_LR, parameter_importances
from experiments.shape_search.runs import Results
from experiments.study.showing.figures import (
    ACCENT,
    CONTEXT,
    REFERENCE,
    as_png,
    legend_beside,
    log_scale,
    panels,
)
from schedules.search import Rung, Scale, SearchSpace, Standing, dkw_half_width

IN_VIEW = 0.9  # the fraction of all scores that a panel shows in full; higher ones lie on its upper edge
BEST_SO_FAR = "#222222"


def allocation(results: Results) -> bytes:
    """Every candidate's score in the order asked, by the rung it reached, with the best so far."""
    figure, axes = panels([standing.name for standing in results.standings], sharex=True, sharey=True)
    rungs = results.config.budget.race.rungs
    colors = _rung_colors(len(rungs))
    for ax, standing in zip(axes, results.standings, strict=True):
        raced = results.findings.screened[standing.name]
        numbers, reached = range(1, len(raced) + 1), [colors[len(entry.medians) - 1] for entry in raced]
        _scatter(ax, numbers, results.findings.told[standing.name], _top(results), reached)
        best = best_so_far(raced)
        ax.step(numbers, np.where(best <= _top(results), best, np.nan), where="post", color=BEST_SO_FAR)
    _score_axis(figure, axes[0], results)
    axes[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.supxlabel("candidates asked so far")
    labels = {_rung_label(rung): color for rung, color in zip(rungs, colors, strict=True)}
    legend_beside(figure, {**dict(reversed(labels.items())), "best of these so far": BEST_SO_FAR})
    figure.suptitle("Where the search spent its runs, and how soon it found its best")
    return as_png(figure)


def score_against_rate(results: Results) -> bytes:
    """Every candidate's screening score against its base learning rate, the winner marked."""
    figure, axes = panels([standing.name for standing in results.standings], sharex=True, sharey=True)
    for ax, standing in zip(axes, results.standings, strict=True):
        rates = [entry.candidate.base_lr for entry in results.findings.screened[standing.name]]
        _with_winner(ax, rates, standing, results)
    log_scale(axes[0], "x", results.config.learning_rates)
    _score_axis(figure, axes[0], results)
    figure.supxlabel("base learning rate")
    legend_beside(figure, {"winner": ACCENT, "the family's other candidates": REFERENCE})
    figure.suptitle("Which learning rates each family was tried with, and what came of it")
    return as_png(figure)


def score_against_parameters(results: Results, standing: Standing) -> bytes:
    """The screening scores of one family's candidates against each of its parameters."""
    space = standing.winner.candidate.family.space
    figure, axes = panels([""] * len(space), sharey=True, columns=min(4, len(space)))
    for ax, (name, interval) in zip(axes, space.items(), strict=True):
        values = [entry.candidate.params[name] for entry in results.findings.screened[standing.name]]
        _with_winner(ax, values, standing, results)
        ax.set_xlim(interval.low, interval.high)
        if interval.log:
            log_scale(ax, "x", [interval.low, interval.high])
        ax.set_xlabel(name)
    _score_axis(figure, axes[0], results)
    legend_beside(figure, {"winner": ACCENT, "screened candidate": REFERENCE})
    figure.suptitle(f"{standing.name}: score against each shape parameter")
    return as_png(figure)


def importances(results: Results) -> bytes:
    """What the score of each family's better half still depends on, with intervals."""
    scale = Scale.of(*results.findings.told.values())
    figure, axes = panels([standing.name for standing in results.standings], sharex=True)
    for ax, standing in zip(axes, results.standings, strict=True):
        space = SearchSpace(standing.winner.candidate.family, results.config.learning_rate_range)
        raced = [entry.candidate for entry in results.findings.screened[standing.name]]
        told = results.findings.told[standing.name]
        shares = parameter_importances(raced, told, space, results.config.confidence, scale)
        for place, (name, share) in enumerate(shares.items()):
            color = REFERENCE if name == BASE_LR else ACCENT
            ax.plot([share.low, share.high], [place, place], color=color, linewidth=3)
            ax.plot(share.value, place, "o", color=color, markersize=4)
        ax.set_yticks(range(len(shares)), list(shares))
        ax.set_ylim(max(len(shares), 1) - 0.5, -0.5)
        ax.set_xlim(-0.1, 1.1)
        ax.axvline(0, color=CONTEXT, zorder=0)
        if not shares:
            ax.text(0.5, 0.5, "too few candidates", ha="center", transform=ax.transAxes, fontsize=8)
    varied = f"log {results.config.metric}" if scale is Scale.RELATIVE else results.config.metric
    figure.supxlabel(f"share of the variance of {varied} that rests on it")
    legend_beside(figure, {"shape parameter": ACCENT, "base learning rate": REFERENCE})
    figure.suptitle("What still matters among the better half of each family's candidates")
    return as_png(figure)


def score_distributions(results: Results) -> bytes:
    """The distribution of each family's drawn shapes with its confidence band, all others behind it."""
    figure, axes = panels([standing.name for standing in results.standings], sharex=True, sharey=True)
    findings, level = results.findings, results.config.confidence
    scores = {name: shape_scores(raced, findings.told[name]) for name, raced in findings.screened.items()}
    for ax, standing in zip(axes, results.standings, strict=True):
        for other in scores.values():
            ax.step(*distribution(other), where="post", color=CONTEXT, linewidth=0.8)
        x, fraction = distribution(scores[standing.name])
        width = dkw_half_width(len(scores[standing.name]), level)
        low, high = np.clip(fraction - width, 0, 1), np.clip(fraction + width, 0, 1)
        ax.fill_between(x, low, high, step="post", color=ACCENT, alpha=0.25, linewidth=0)
        ax.step(x, fraction, where="post", color=ACCENT)
    log_scale(axes[0], "x", np.concatenate(list(scores.values())))
    figure.supxlabel(f"{results.config.metric} of a shape at its best learning rate (screening)")
    figure.supylabel("fraction of shapes at or below")
    legend_beside(figure, {f"family, with {level:.0%} band": ACCENT, "the other families": CONTEXT})
    figure.suptitle("How easily a drawn shape of each family is good: further left is better")
    return as_png(figure)


def distribution(scores: Float[np.ndarray, "shapes"]) -> tuple[np.ndarray, np.ndarray]:
    """The finite scores in order, and the fraction of all that lies at or below each."""
    finite = np.sort(scores[np.isfinite(scores)])
    return finite, np.arange(1, len(finite) + 1) / len(scores)


def _with_winner(ax: Axes, values: Sequence[float], standing: Standing, results: Results) -> None:
    told, winner = results.findings.told[standing.name], standing.winner.candidate.number
    _scatter(ax, values, told, _top(results), [REFERENCE] * len(told))
    ax.scatter(values[winner], min(told[winner], _top(results)), s=60, color=ACCENT, marker="*", zorder=3)


def _scatter(
    ax: Axes, values: Sequence[float], scores: Sequence[float], top: float, colors: Sequence[str]
) -> None:
    """Scores as points, those above the top as triangles on it."""
    for marker, is_bound in ((".", False), ("^", True)):
        rows = [row for row, score in enumerate(scores) if (score > top) == is_bound]
        ax.scatter(
            [values[row] for row in rows],
            [min(scores[row], top) for row in rows],
            s=36 if marker == "." else 14,
            color=[colors[row] for row in rows],
            linewidths=0,
            marker=marker,
            clip_on=False,
        )


def _top(results: Results) -> float:
    """The highest score that is drawn at its place; the same in all of a study's figures."""
    told = np.concatenate(list(results.findings.told.values()))
    finite = told[np.isfinite(told)]
    return float(np.quantile(finite, IN_VIEW)) if len(finite) else 1.0


def _score_axis(figure: Figure, ax: Axes, results: Results) -> None:
    told = np.concatenate(list(results.findings.told.values()))
    log_scale(ax, "y", np.minimum(told, _top(results)))
    figure.supylabel(f"{results.config.metric} (screening)\n▲ higher, or diverged", fontsize=9)


def _rung_colors(count: int) -> list[str]:
    """From light to dark greys, and the accent for the full measurement."""
    greys = np.linspace(0.8, 0.5, max(count - 1, 1))[: count - 1]
    return [*(str(round(float(grey), 2)) for grey in greys), ACCENT]


def _rung_label(rung: Rung) -> str:
    return f"{rung.replicates} {'run' if rung.replicates == 1 else 'runs'} of {rung.num_steps} steps"
