"""The figures of a dependence study, each as PNG bytes with its message as the title."""

import math

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize

from experiments.shape_dependence.costs import changed, cost_text
from experiments.shape_dependence.runs import Results
from experiments.shape_search.figures import fractions, multipliers
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, as_png, chart, finished, panels
from schedules.search import Scale

GAIN_TO_COST = LinearSegmentedColormap.from_list("cost", ["#e08214", "#f7f7f7", "#0b6fb8"])
OWN = "#bbbbbb"
SETTLED = 0.75  # the fraction of the costs within the range of the colours, which a few would stretch
LEAST_RANGE = 2  # per cent
DARK = 0.65  # of the range, from where on costs are dark enough for white text
ITS_SHAPE = "#e08214"
LINEAR = 10  # per cent, up to where the axis of costs is linear
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)


def transfer_matrix(results: Results) -> bytes:
    """What every setting's shape costs in every setting."""
    names = list(results.costs)
    costs = [[results.costs[setting].get(name) for setting in names] for name in names]
    values = np.array([[math.nan if cost is None else cost.value for cost in row] for row in costs])
    values = results.scale.in_unit(values)
    limit = _colour_range(values, LEAST_RANGE if results.scale is Scale.RELATIVE else 0.0)
    figure, ax = chart(4.2 + 0.75 * len(names), 2.4 + 0.5 * len(names), framed=True)
    ax.set_facecolor(OWN)
    image = ax.imshow(values, cmap=GAIN_TO_COST, norm=Normalize(-limit, limit), aspect="auto")
    for row, column in np.ndindex(values.shape):
        text = cost_text(costs[row][column], results.scale) if costs[row][column] else "own"
        color = "white" if values[row, column] > DARK * limit else "black"
        weight = "bold" if text.endswith("*") else "normal"
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color=color, weight=weight)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("trained in")
    ax.set_ylabel("shape of")
    label = f"cost against the own shape, {results.scale.unit}"
    figure.colorbar(image, ax=ax, extend="both", label=label, format="{x:+g}")
    question = f"What does another setting's shape cost? ({results.config.vary})"
    sureness = f"{results.config.confidence:.0%} interval, simultaneous within a row or column"
    figure.suptitle(f"{question}\n* the {sureness}, does not hold 0", fontsize=10)
    return as_png(figure)


def best_shapes(results: Results) -> bytes:
    """The best shape of every setting, that of the reference behind it."""
    transferred, reference = results.transferred, results.config.reference
    titles = [f"{name}\nLR {transferred[name][name].candidate.base_lr:.3g}" for name in results.shapes]
    figure, axes = panels(titles, sharex=True, sharey=True)
    costly, usual = changed(results.costs, reference, results.scale), multipliers(results.shapes[reference])
    for ax, (name, shape) in zip(axes, results.shapes.items(), strict=True):
        ax.plot(fractions(), usual, color=CONTEXT, linewidth=3, solid_capstyle="round")
        ax.plot(fractions(), multipliers(shape), color=ITS_SHAPE if name in costly else ACCENT)
        ax.set_ylim(-0.03, 1.05)
    figure.supxlabel("fraction of training done")
    figure.supylabel("multiplier")
    colors = {
        f"best found there, where\n{reference}'s shape costs": ITS_SHAPE,
        "best found there, else": ACCENT,
        f"best of {reference}": CONTEXT,
    }
    return finished(figure, f"The best shape of each setting ({results.config.vary})", colors)


def costs(results: Results) -> bytes:
    """What the reference's shape costs in each setting, and each setting's in the reference."""
    reference, costs, scale = results.config.reference, results.costs, results.scale
    others = [name for name in costs if name != reference]
    figure, ax = chart(8.5, 1.8 + 0.42 * len(others))
    for place, name in enumerate(others):
        _interval(ax, scale.in_unit(np.array(costs[name][reference])), place - 0.13, ACCENT)
        _interval(ax, scale.in_unit(np.array(costs[reference][name])), place + 0.13, ITS_SHAPE)
    ax.axvline(0, color=REFERENCE, zorder=0)
    ax.set_yticks(range(len(others)), others)
    ax.set_ylim(len(others) - 0.5, -0.5)
    if scale is Scale.RELATIVE:
        _per_cent_axis(ax)
    ax.set_xlabel(f"change of the median {results.config.metric} from the own shape's, {scale.unit}")
    return finished(
        figure,
        "What do the two shapes cost in each other's setting?",
        {f"{reference}'s shape\nthere": ACCENT, f"its shape in\n{reference}": ITS_SHAPE},
    )


def _interval(ax: Axes, cost: Float[np.ndarray, "3"], place: float, color: str) -> None:
    value, low, high = cost
    if math.isfinite(low) and math.isfinite(high):
        ax.plot([low, high], [place] * 2, color=color, linewidth=3)
    if math.isfinite(value):
        ax.plot(value, place, "o", color=color)


def _per_cent_axis(ax: Axes) -> None:
    """Linear near zero and logarithmic beyond, in plain numbers, so that one large cost hides no other."""
    ax.set_xscale("symlog", linthresh=LINEAR)
    low, high = ax.get_xlim()
    least = 1 if max(-low, high) <= LINEAR else LINEAR / 2
    ticks = [sign * tick for tick in TICKS for sign in (-1, 1) if tick >= least]
    shown = [tick for tick in (0, *sorted(ticks)) if low <= tick <= high]
    ax.set_xticks(shown, [f"{tick:+g}" if tick else "0" for tick in shown])
    ax.minorticks_off()


def _colour_range(values: np.ndarray, least: float) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return max(least, float(np.quantile(finite, SETTLED)) if finite.size else least) or 1.0
