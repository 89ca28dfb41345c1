"""The figures of a study of transfer, each as PNG bytes with its message as the title."""

import itertools

import numpy as np
from matplotlib.axes import Axes

from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, finished, log_scale, panels
from experiments.transfer.runs import Results
from experiments.transfer.transfers import BOTH, RATE, SHAPE
from schedules.search import Scale

PALETTE = (ACCENT, "#e08214", "#1b7837", "#c51b7d", "#7b3294", REFERENCE, "#8c510a", "#35978f")
OUTSIDE = "#d1495b"
CARRIED = {BOTH: ACCENT, SHAPE: "#1b7837", RATE: "#e08214"}


def laws(results: Results) -> bytes:
    """The best rate of every shape along every axis, and its law; hollow where it is censored."""
    config = results.config
    colors = dict(zip(config.families, itertools.cycle(PALETTE), strict=False))
    figure, axes = panels(list(config.axes), columns=3, sharey=True)
    shown = []
    for ax, (axis, values) in zip(axes, config.axes.items(), strict=True):
        sizes = config.along(axis)
        for family, color in colors.items():
            fit = results.fits[family]
            optima = [fit.optima[size] for size in sizes]
            rows = [[getattr(size, name) for name in config.axes] for size in sizes]
            ax.plot(
                values,
                [fit.law.predicted(row, config.confidence).value for row in rows],
                color=color,
                linewidth=1,
            )
            for value, found in zip(values, optima, strict=True):
                ax.plot(
                    value,
                    found.rate,
                    "o",
                    color=color,
                    markersize=4,
                    fillstyle="none" if found.censored else "full",
                )
            shown += [found.rate for found in optima]
        _over(ax, values)
    log_scale(axes[0], "y", shown)
    figure.supylabel("best learning rate")
    return finished(figure, "How does the best learning rate depend on size?", colors)


def predictions(results: Results) -> bytes:
    """At every size the interval of the law of the others, and the best rate; a panel a shape, the largest
    size last."""
    config = results.config
    figure, axes = panels(list(config.families), columns=3, sharex=True, sharey=True)
    names = ["/".join(str(number) for number in size.numbers.values()) for size in config.sizes]
    rates = []
    for ax, fit in zip(axes, results.fits.values(), strict=True):
        for place, size in enumerate(config.sizes):
            found, (value, low, high) = fit.optima[size], fit.predicted[size]
            color = ACCENT if fit.holds(size) else OUTSIDE
            ax.plot([low, high], [place, place], color=CONTEXT, linewidth=4)
            ax.plot(value, place, "|", color=REFERENCE)
            ax.plot(
                found.rate,
                place,
                "o",
                color=color,
                markersize=4,
                fillstyle="none" if found.censored else "full",
            )
            rates += [found.rate, low, high]
        ax.set_yticks(range(len(names)), names, fontsize=7)
    axes[0].invert_yaxis()
    log_scale(axes[0], "x", rates)
    figure.supxlabel("learning rate")
    figure.supylabel("steps/batch/width" if config.widths else "steps/batch")
    colors = {
        "best, held": ACCENT,
        "best, not held": OUTSIDE,
        f"{config.confidence:.0%} interval\nof the law": CONTEXT,
    }
    return finished(figure, "Does the law of the others predict the best rate of a size?", colors)


def costs(results: Results) -> bytes:
    """What is lost at the largest size of an axis by what was found at a smaller one."""
    config, scale = results.config, results.scale
    figure, axes = panels(list(config.axes), columns=3, sharey=True)
    for ax, (axis, values) in zip(axes, config.axes.items(), strict=True):
        chosen = [transfer for transfer in results.transfers if transfer.pair.axis == axis]
        for (name, color), shift in zip(CARRIED.items(), (0.93, 1.0, 1.07), strict=True):
            changes = scale.in_unit(np.array([transfer.costs[name] for transfer in chosen]))
            places = shift * np.array(values[:-1])
            ax.plot(places, changes[:, 0], "o", color=color, markersize=4)
            ax.vlines(places, *changes[:, 1:].T, color=color, linewidth=2)
        ax.axhspan(
            *scale.in_unit(np.array([-config.tolerance, config.tolerance])),
            color=CONTEXT,
            alpha=0.5,
            zorder=0,
        )
        ax.set_title(f"{axis}, used at {values[-1]}", fontsize=9)
        _over(ax, values[:-1])
    if scale is Scale.RELATIVE:
        axes[0].set_yscale("symlog", linthresh=10)
        axes[0].yaxis.set_major_formatter("{x:+g}")
    figure.supxlabel("found at")
    figure.supylabel(f"change of {config.metric}, {scale.unit}")
    return finished(figure, "What does it cost to use what was found at a smaller size?", CARRIED)


def _over(ax: Axes, values: tuple[int, ...]) -> None:
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_xticks(values, map(str, values))
    ax.xaxis.set_visible(True)
