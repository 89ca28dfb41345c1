"""What the figures of all studies share: colours, grids of panels, PNG bytes."""

import io
import math
from collections.abc import Iterable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from schedules.search import Standing

ACCENT = "#0b6fb8"  # what the figure is about
REFERENCE = "#8a8a8a"  # what it is compared with
CONTEXT = "#d5d5d5"  # everything else
DPI = 110


def panels(titles: Sequence[str], columns: int = 4, **subplots) -> tuple[Figure, list[Axes]]:
    """A figure with one panel a title, in rows of `columns`. What all panels share is drawn at the edge
    alone: ticks are most of a figure's cost."""
    columns = min(columns, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(2.8 + 2.2 * max(columns, 2), 1.1 + 1.6 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **subplots).flat)
    for empty in axes[len(titles) :]:
        empty.set_axis_off()
    used = axes[: len(titles)]
    for place, (ax, title) in enumerate(zip(used, titles, strict=True)):
        ax.set_title(title, fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8, labelbottom=True)
        ax.xaxis.set_visible(subplots.get("sharex") is not True or place + columns >= len(titles))
        ax.yaxis.set_visible(subplots.get("sharey") is not True or place % columns == 0)
    return figure, used


def chart(width: float, height: float, framed: bool = False) -> tuple[Figure, Axes]:
    """A figure of one panel, of so many inches; `framed` on all four sides."""
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    if not framed:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


def finished(figure: Figure, message: str, colors: dict[str, str] | None = None) -> bytes:
    """The figure under its message, with a legend of the colours if there are any, as a PNG image."""
    if colors:
        legend_beside(figure, colors)
    figure.suptitle(message)
    return as_png(figure)


def as_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.set_dpi(DPI)
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")  # laid out: to save it would draw it once more for that
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def legend_beside(figure: Figure, colors: dict[str, str]) -> None:
    """A legend to the right of the panels, outside the data and below the message, which may be as wide."""
    handles = [Line2D([], [], color=color, linewidth=3, label=label) for label, color in colors.items()]
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9)


def ranking(standings: Sequence[Standing], baseline: str, score: str, message: str) -> bytes:
    """Every winner's score with its interval, best on top, against the baseline's."""
    figure, ax = chart(8, 1.4 + 0.3 * len(standings), framed=True)
    for place, standing in enumerate(standings):
        color = ACCENT if not standing.behind_best or standing.ties_with_best else REFERENCE
        ax.plot([standing.score.low, standing.score.high], [place, place], color=color, linewidth=3)
        ax.plot(standing.score.value, place, "o", color=color)
    reference = next(s for s in standings if s.name == baseline)
    ax.axvline(reference.score.value, color=CONTEXT, zorder=0)
    ax.set_yticks(range(len(standings)), [s.name for s in standings])
    ax.invert_yaxis()
    log_scale(ax, "x", [end for s in standings for end in s.score])
    ax.set_xlabel(score)
    colors = {"best, or tied with it": ACCENT, "worse": REFERENCE, f"{baseline}'s median": CONTEXT}
    return finished(figure, message, colors)


def log_scale(ax: Axes, side: Literal["x", "y"], values: Iterable[float]) -> None:
    """A logarithmic axis over the finite values, in plain numbers; a linear one where they reach zero."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or min(finite) <= 0:
        return
    (ax.set_xscale if side == "x" else ax.set_yscale)("log")
    (ax.set_xlim if side == "x" else ax.set_ylim)(min(finite) / 1.1, max(finite) * 1.1)
    decades = math.log10(max(finite) / min(finite))
    digits = (1, 1.5, 2, 2.5, 3, 4, 5, 7) if decades < 0.6 else (1, 2, 5) if decades < 2 else (1,)
    axis = ax.xaxis if side == "x" else ax.yaxis
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
