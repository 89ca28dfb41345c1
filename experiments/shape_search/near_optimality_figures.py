"""The figures of near-optimality, each as PNG bytes with its message as the title."""

from collections.abc import Sequence

import numpy as np

from experiments.shape_search.winner_figures import learning_rates
from experiments.study.showing.figures import (
    ACCENT,
    CONTEXT,
    REFERENCE,
    as_png,
    legend_beside,
    log_scale,
    panels,
)
from schedules.search import Scale, Verdict


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
    together = np.concatenate(changes)
    finite = together[np.isfinite(together)]
    if len(finite) and verdict.scale is Scale.RELATIVE:
        axes[0].set_ylim(min(-1, 1.3 * np.min(finite)), min(np.max(finite), 100) * 1.1 + 1)
    figure.supylabel(f"change of the score, {verdict.scale.unit}")
    legend_beside(figure, {"at its own best learning rate": ACCENT, "the winner's value": REFERENCE})
    figure.suptitle(f"{candidate.family.name}, one parameter at a time")
    return as_png(figure)


def found_shapes(verdicts: Sequence[Verdict]) -> bytes:
    """Each checked winner's learning rates, and where the local searches from it ended."""
    titles = [f"{verdict.winner.candidate.family.name}\n{verdict}" for verdict in verdicts]
    figure, axes = panels(titles, sharex=True, columns=3)
    for ax, verdict in zip(axes, verdicts, strict=True):
        ax.plot(*learning_rates(verdict.winner.candidate), color=CONTEXT, linewidth=4)
        ax.plot(*learning_rates(verdict.own.found), color=ACCENT)
        if verdict.free is not None:
            ax.plot(*learning_rates(verdict.free.found), color=REFERENCE, linestyle="--")
    figure.supxlabel("fraction of training done")
    figure.supylabel("learning rate")
    legend_beside(figure, {"winner": CONTEXT, "found in its family": ACCENT, "found in free": REFERENCE})
    figure.suptitle("Where local searches ended")
    return as_png(figure)
