"""The figures of the winners and of their checks, each as PNG bytes with its message as the title."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from scipy.stats import norm

from experiments.shape_search.calibration import LEVEL, LeftOut
from experiments.shape_search.candidates import expected, near_best
from experiments.shape_search.config import BASELINES
from experiments.shape_search.runs import Results
from experiments.study.showing.figures import (
    ACCENT,
    CONTEXT,
    REFERENCE,
    as_png,
    chart,
    finished,
    legend_beside,
    log_scale,
    panels,
    ranking,
)
from schedules.groups import RATIO
from schedules.search import Candidate, Raced, Scale, Verdict

CURVE_POINTS = 100  # as a panel has room for, and often the steps of a run: compiled already
BAND = "#b5d3ea"  # of what lies near what has the accent
OUTSIDE = "#d1495b"  # of an interval
BAND_LABEL = "all within half an interval of its best"


def winning_shapes(results: Results, group: int = 0) -> bytes:
    """Each family's winning learning rate over the horizon in its band, the best family's behind it."""
    titles = [f"{standing.name}  {standing.score.value:.3g}" for standing in results.standings]
    figure, axes = panels(titles, sharex=True, sharey=True)
    best = results.best.winner.candidate
    for ax, standing in zip(axes, results.standings, strict=True):
        near_bests = near_best(_measured(results, standing.name), standing)
        _band(ax, [learning_rates(candidate, group)[1] for candidate in near_bests])
        ax.plot(*learning_rates(best, group), color=CONTEXT, linewidth=3)
        ax.plot(*learning_rates(standing.winner.candidate, group), color=ACCENT)
    figure.supxlabel("fraction of training done")
    figure.supylabel("learning rate")
    legend_beside(
        figure,
        {
            "family's winner": ACCENT,
            BAND_LABEL: BAND,
            f"best family's ({results.best.name})": CONTEXT,
        },
    )
    figure.suptitle(f"The best shape of each family{_in_group(results, group)}, by {results.config.metric}")
    return as_png(figure)


def near_best_shapes(results: Results, group: int = 0) -> bytes:
    """Each family's winning multipliers in the band of all that the study can hardly tell from its best."""
    near_bests = {s.name: near_best(_measured(results, s.name), s) for s in results.standings}
    asked = {name: len(raced) for name, raced in results.findings.screened.items()}
    titles = [f"{name}  {len(shown)} of {asked[name]}" for name, shown in near_bests.items()]
    figure, axes = panels(titles, sharex=True, sharey=True)
    for ax, standing in zip(axes, results.standings, strict=True):
        _band(ax, [multipliers(candidate, group) for candidate in near_bests[standing.name]])
        ax.plot(fractions(), multipliers(standing.winner.candidate, group), color=ACCENT)
    figure.supxlabel("fraction of training done")
    figure.supylabel("learning rate / its base")
    legend_beside(figure, {"family's winner": ACCENT, BAND_LABEL: BAND})
    figure.suptitle(f"Where the band is wide, the score does not fix the shape{_in_group(results, group)}")
    return as_png(figure)


def winner_scores(results: Results) -> bytes:
    """Every winner's confirmed score with its interval, best on top."""
    score = f"{results.config.metric}, median of {len(results.best.winner.scores)} fresh seeds"
    return ranking(results.standings, BASELINES[0], score, "Which family wins, and how sure that is")


def sensitivity(results: Results) -> bytes:
    """What a higher learning rate at each part of the run does to the best winner's score, by the model."""
    curve = results.best.winner.candidate
    steps = curve.base_lr * np.asarray(curve.family.multipliers(curve.params, results.config.num_steps))
    slopes, deviations = results.explanation.model.sensitivity(steps)
    width = norm.ppf((1 + results.config.confidence) / 2) * deviations
    ends = np.linspace(0, 1, len(slopes) + 1)
    figure, ax = chart(10, 3.6)
    ax.axhline(0, color=CONTEXT, zorder=0)
    ax.stairs(slopes + width, ends, baseline=slopes - width, fill=True, color=BAND)
    ax.stairs(slopes, ends, baseline=None, color=ACCENT, linewidth=2)
    ax.set_xlabel("fraction of training done")
    relative = results.best.scale is Scale.RELATIVE
    ax.set_ylabel(f"∂ {'log ' if relative else ''}{results.config.metric} / ∂ log learning rate")
    colors = {f"{results.best.name}'s winner": ACCENT, f"{results.config.confidence:.0%} band": BAND}
    return finished(figure, "Where the learning rate matters: below 0, more is better", colors)


def calibration(results: Results) -> bytes:
    """Every screening run's score against what the model of all other families expects of it."""
    families, scale = results.explanation.left_out, results.explanation.model.values.scale
    titles = [f"{name}  ρ = {family.correlation:.2f}" for name, family in families.items()]
    figure, axes = panels(titles, sharex=True, sharey=True)
    scores = {name: LeftOut(*map(scale.scores, family)) for name, family in families.items()}
    ends = np.concatenate([np.concatenate([shown.measured, shown.median]) for shown in scores.values()])
    for ax, shown in zip(axes, scores.values(), strict=True):
        ax.plot([ends.min(), ends.max()], [ends.min(), ends.max()], color=CONTEXT, zorder=0)
        for color, rows in ((ACCENT, shown.inside), (OUTSIDE, ~shown.inside)):
            ax.scatter(shown.median[rows], shown.measured[rows], s=8, color=color, linewidths=0)
    for side in ("x", "y"):
        log_scale(axes[0], side, ends)
    figure.supxlabel("median of a run, as the model of all other families has it")
    figure.supylabel(f"{results.config.metric} (screening)")
    colors = {f"inside its {LEVEL:.0%} interval": ACCENT, "outside": OUTSIDE, "as predicted": CONTEXT}
    return finished(figure, "What the model expects of families that it never saw", colors)


def sweeps(verdict: Verdict) -> bytes:
    """The change of the score along each shape parameter of a winner, at each value's best learning rate."""
    candidate = verdict.winner.candidate
    changes = [verdict.scale.in_unit(sweep.best_changes) for sweep in verdict.sweeps]
    figure, axes = panels([""] * len(verdict.sweeps), sharey=True, columns=min(4, len(verdict.sweeps)))
    for ax, sweep, shown in zip(axes, verdict.sweeps, changes, strict=True):
        ax.axhline(0, color=CONTEXT, zorder=0)
        ax.plot(sweep.values, shown, "o-", color=ACCENT, markersize=4)
        ax.axvline(candidate.params[sweep.parameter], color=REFERENCE, linestyle=":")
        if candidate.family.space[sweep.parameter].log:
            log_scale(ax, "x", sweep.values)
        ax.set_xlabel(sweep.parameter)
    changes_of_all = np.concatenate(changes)
    finite = changes_of_all[np.isfinite(changes_of_all)]
    if len(finite) and verdict.scale is Scale.RELATIVE:
        axes[0].set_ylim(min(-1, 1.3 * np.min(finite)), min(np.max(finite), 100) * 1.1 + 1)
    figure.supylabel(f"change of the score, {verdict.scale.unit}")
    legend_beside(figure, {"at its own best learning rate": ACCENT, "the winner's value": REFERENCE})
    figure.suptitle(f"{candidate.family.name}, one parameter at a time")
    return as_png(figure)


def found_shapes(results: Results, group: int = 0) -> bytes:
    """Each checked winner's learning rates, and where the searches from it ended."""
    verdicts = results.verdicts.values()
    titles = [f"{verdict.winner.candidate.family.name}\n{verdict}" for verdict in verdicts]
    figure, axes = panels(titles, sharex=True, columns=3)
    for ax, verdict in zip(axes, verdicts, strict=True):
        ax.plot(*learning_rates(verdict.winner.candidate, group), color=CONTEXT, linewidth=4)
        ax.plot(*learning_rates(verdict.own.found, group), color=ACCENT)
        if verdict.free is not None:
            ax.plot(*learning_rates(verdict.free.found, group), color=REFERENCE, linestyle="--")
    figure.supxlabel("fraction of training done")
    figure.supylabel("learning rate")
    colors = {"winner": CONTEXT, "found in its family": ACCENT, "found in free": REFERENCE}
    if not any(verdict.sweeps for verdict in verdicts):
        colors = {"winner": CONTEXT, "best challenger": ACCENT}
    return finished(figure, f"Where the checks ended{_in_group(results, group)}", colors)


@functools.lru_cache(maxsize=4096)
def multipliers(candidate: Candidate, group: int = 0) -> Float[np.ndarray, "points"]:
    """The candidate's shape, as figures draw it, or that of one of its groups."""
    curves = np.asarray(candidate.family.multipliers(candidate.params, CURVE_POINTS))
    return curves.reshape(-1, CURVE_POINTS)[group] / _factor(candidate, group)


def learning_rates(candidate: Candidate, group: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of the horizon, and the candidate's learning rate at each, or that of one of its groups."""
    return fractions(), candidate.base_lr * _factor(candidate, group) * multipliers(candidate, group)


def fractions() -> Float[np.ndarray, "points"]:
    return np.arange(CURVE_POINTS) / CURVE_POINTS


def _factor(candidate: Candidate, group: int) -> float:
    """What the base learning rate is multiplied by for a group."""
    return candidate.params[RATIO] if group else 1.0


def _in_group(results: Results, group: int) -> str:
    """Of a title where a figure is that of one group's shapes."""
    config = results.config
    return f" in {config.groups[group]}" if config.shapes == "own" else ""


def _measured(results: Results, name: str) -> tuple[Raced, ...]:
    """A family's screened candidates: where each had one seed's luck, with what the model makes of it."""
    raced = results.findings.screened[name]
    if results.explanation is None:
        return raced
    return expected(raced, results.explanation.model, results.config.num_steps)


def _band(ax: Axes, curves: Sequence[Float[np.ndarray, "points"]]) -> None:
    ax.fill_between(fractions(), np.min(curves, axis=0), np.max(curves, axis=0), color=BAND, linewidth=0)
