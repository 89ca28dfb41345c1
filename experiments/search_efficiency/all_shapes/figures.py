"""The figure of the searches of all shapes."""

import itertools

import numpy as np
from matplotlib.ticker import NullLocator

from experiments.search_efficiency.all_shapes.runs import Results
from experiments.search_efficiency.figures import OTHER_COLORS
from experiments.study.showing.figures import ACCENT, CONTEXT, chart, finished, log_scale

INCUMBENT = "#d94801"  # the luckiest


def excesses(results: Results) -> bytes:
    """How far above the best known the choices lie, against runs: the median search of every contestant, and
    of the two that matter the band up to the 90th percentile."""
    figure, ax = chart(9, 4.2)
    checkpoints, default = results.config.checkpoints, results.default
    emphasised = {default.contestant: ACCENT}
    if results.incumbents:
        emphasised[results.luckiest(-1).contestant] = INCUMBENT
    others = (name for name in results.excesses if name not in emphasised)
    colors = emphasised | dict(zip(others, itertools.cycle(OTHER_COLORS), strict=False))
    shown = []
    for name, color in colors.items():
        held = results.excesses[name]
        medians, ends = (results.scale.in_unit(values) for values in (held.medians, held.worse_ends))
        if name in emphasised:
            ax.fill_between(checkpoints, medians, ends, color=color, alpha=0.15, linewidth=0)
            ax.plot(checkpoints, ends, "--", color=color, linewidth=1)
            shown += [*medians, *ends]
        style = {"linewidth": 3, "marker": "o"} if name in emphasised else {"linewidth": 1}
        ax.plot(checkpoints, medians, color=color, **style)
    ax.set_ylim(min(0, *shown), 1.1 * max(value for value in shown if np.isfinite(value)))
    ax.grid(axis="y", color=CONTEXT, linewidth=0.6)
    log_scale(ax, "x", checkpoints)
    ax.set_xticks(checkpoints, [str(runs) for runs in checkpoints])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("runs, each of one seed")
    ax.set_ylabel(
        f"above the best curve known, {results.scale.unit}\n(line: median search; dashed: 90th percentile)"
    )
    return finished(
        figure, "How near to the best of all shapes", {str(name): c for name, c in colors.items()}
    )
