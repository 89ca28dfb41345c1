"""How near-optimal the best winners are, as text, JSON and figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.shape_search.figures import learning_rates
from experiments.study.figures import ACCENT, CONTEXT, REFERENCE, as_png, legend_beside, panels
from experiments.study.tables import estimate_json, finite_or_none, shape_text
from schedules.search import Finding, Verdict

CHECK_HEADINGS = ("winner", "verdict", "best change found, %", "in", "base LR", "shape")


def check_rows(verdicts: Mapping[str, Verdict]) -> list[tuple[str, ...]]:
    """The cells under `CHECK_HEADINGS`, a row a winner that was checked."""
    rows = []
    for name, verdict in verdicts.items():
        change, found = verdict.best.change, verdict.best.found
        interval = f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
        rows.append(
            (name, str(verdict), interval, found.family.name, f"{found.base_lr:.3g}", shape_text(found.params))
        )
    return rows


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict for winners.json; the shapes found in place of the winner's come with it."""
    return {
        "verdict": str(verdict),
        "improved": verdict.improved,
        "delta": finite_or_none(verdict.delta),
        "own_family": _finding_json(verdict.own),
        "free": None if verdict.free is None else _finding_json(verdict.free),
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "family": finding.found.family.name,
        "params": dict(finding.found.params),
        "base_lr": finding.found.base_lr,
        "change": estimate_json(finding.change),
        "delta": finite_or_none(finding.delta),
    }


def sweeps(verdict: Verdict) -> bytes:
    """The change of the score along each shape parameter of a winner, the learning rate tuned at each value."""
    candidate = verdict.winner.candidate
    figure, axes = panels([""] * len(verdict.sweeps), sharey=True, columns=min(4, len(verdict.sweeps)))
    for ax, sweep in zip(axes, verdict.sweeps, strict=True):
        ax.axhline(0, color=CONTEXT, zorder=0)
        ax.plot(sweep.values, 100 * sweep.best_changes, "o-", color=ACCENT, markersize=4)
        ax.axvline(candidate.params[sweep.parameter], color=REFERENCE, linestyle=":")
        if candidate.family.space[sweep.parameter].log:
            ax.set_xscale("log")
        ax.set_xlabel(sweep.parameter)
    finite = np.concatenate([sweep.best_changes for sweep in verdict.sweeps])
    finite = 100 * finite[np.isfinite(finite)]
    if len(finite):
        axes[0].set_ylim(min(-1, 1.3 * np.min(finite)), min(np.max(finite), 100) * 1.1 + 1)
    figure.supylabel("change of the score, %")
    legend_beside(figure, {"at its own best learning rate": ACCENT, "the winner's value": REFERENCE})
    figure.suptitle(f"{candidate.family.name}, one parameter at a time: {verdict}")
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
    legend_beside(figure, {"winner": CONTEXT, "improved in its family": ACCENT, "improved in free": REFERENCE})
    figure.suptitle("What local searches from the winners ended with")
    return as_png(figure)
