"""The figure of the searches of all shapes."""

import numpy as np

from experiments.search_efficiency.all_shapes.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, chart, finished, log_scale

INCUMBENT = "#e08214"
OTHER = "#8a8a8a"


def excesses(results: Results) -> bytes:
    """How far above the best known the choices lie, against runs: the median search of every contestant, and
    of the two that matter how far the worse searches lie above it."""
    figure, ax = chart(8, 4.2)
    checkpoints = results.config.checkpoints
    colors = {str(results.default.contestant): ACCENT}
    emphasised = [results.default]
    if results.incumbents:
        luckiest = results.luckiest(-1)
        colors[f"{luckiest.contestant}, Optuna's best here"] = INCUMBENT
        emphasised.append(luckiest)
    shown = []
    for held in results.excesses.values():
        if held not in emphasised:
            ax.plot(checkpoints, _drawn(held.medians, results), color=OTHER, linewidth=0.8)
    for held, color in zip(emphasised, colors.values(), strict=True):
        medians, ends = _drawn(held.medians, results), _drawn(held.worse_ends, results)
        ax.fill_between(checkpoints, medians, ends, color=color, alpha=0.2, linewidth=0)
        ax.plot(checkpoints, medians, "o-", color=color, linewidth=2.5)
        shown += [*medians, *ends]
    colors["all others"] = OTHER
    ax.set_ylim(min(0, *shown), 1.15 * max(value for value in shown if np.isfinite(value)))
    ax.grid(axis="y", color=CONTEXT, linewidth=0.6)
    log_scale(ax, "x", checkpoints)
    ax.set_xticks(checkpoints, [str(runs) for runs in checkpoints])
    ax.set_xlabel("runs of one seed")
    ax.set_ylabel(
        f"choice above the best curve known, {results.scale.unit}\nmedian search to 90th percentile"
    )
    return finished(figure, "How near to the best of all shapes, for how many runs", colors)


def _drawn(values: np.ndarray, results: Results) -> np.ndarray:
    return results.scale.in_unit(values)
