"""The figures of a study of reversals, each as PNG bytes with its message as the title."""

import numpy as np

from experiments.reversal.config import REFERENCE
from experiments.reversal.orders import FIRST, Orders
from experiments.reversal.orders import orders as compared_orders
from experiments.reversal.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, finished, log_scale, panels
from experiments.study.showing.figures import REFERENCE as GREY
from schedules.search import Scale

REVERSED = "#d1495b"
SHOWN = 8.0  # the largest ratio within the frame


def orders(results: Results) -> bytes:
    """Every pair of shapes: the change with both retuned, and at the first's rate; a panel an optimizer."""
    figure, axes = panels(list(results.contests), columns=3, sharex=True, sharey=True)
    equal = 1.0 if results.scale is Scale.RELATIVE else 0.0
    shown = []
    for ax, contest in zip(axes, results.contests.values(), strict=True):
        pairs = compared_orders(contest, FIRST)
        for color, chosen in _by_color(pairs).items():
            points = equal + np.array([(p.retuned.value, p.untuned.value) for p in chosen]).reshape(-1, 2)
            if equal:
                points = np.clip(points, 1 / SHOWN, SHOWN)
            ax.plot(*points.T, "o", color=color, markersize=3, alpha=0.7)
            shown.append(points)
        ax.axhline(equal, color=CONTEXT, zorder=0)
        ax.axvline(equal, color=CONTEXT, zorder=0)
    for side, values in zip("xy", np.concatenate(shown).T, strict=True):
        log_scale(axes[0], side, values)
    words = "over" if equal else "minus"
    figure.supxlabel(f"{results.config.metric} of the second {words} the first's, each at its best rate")
    figure.supylabel("both at the first's")
    colors = {"same order": GREY, "reversed": ACCENT, "surely reversed": REVERSED}
    return finished(figure, "Which orders reverse at the first shape's rate?", colors)


def curves(results: Results) -> bytes:
    """The screening loss of every shape over learning rates, a panel an optimizer, with its best rate."""
    figure, axes = panels(list(results.contests), columns=3, sharey=True)
    finite = []
    for ax, contest in zip(axes, results.contests.values(), strict=True):
        for family, tuned in contest.tuned.items():
            rates, losses = np.array(tuned.curve(None)).T
            color, order = (ACCENT, 3) if family == REFERENCE else (GREY, 1)
            ax.plot(rates, losses, color=color, linewidth=1, zorder=order)
            ax.plot(tuned.setting.learning_rate, min(losses), "o", color=color, markersize=4, zorder=order)
            finite += losses[np.isfinite(losses)].tolist()
        log_scale(ax, "x", [rate for tuned in contest.tuned.values() for rate, _ in tuned.curve(None)])
    log_scale(axes[0], "y", finite)
    figure.supxlabel("peak learning rate")
    figure.supylabel(f"{results.config.metric} (screening)")
    return finished(
        figure, "Is one learning rate the best of all shapes?", {REFERENCE: ACCENT, "others": GREY}
    )


def _by_color(pairs: list[Orders]) -> dict[str, list[Orders]]:
    """The reversed last, so that they lie on top."""
    return {
        GREY: [pair for pair in pairs if not pair.reversed],
        ACCENT: [pair for pair in pairs if pair.reversed and not pair.surely_reversed],
        REVERSED: [pair for pair in pairs if pair.surely_reversed],
    }
