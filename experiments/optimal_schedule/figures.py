"""The figures of a study of best schedules, each as PNG bytes with its message as the title."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter

from experiments.optimal_schedule.config import MEAN_FIELD
from experiments.optimal_schedule.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished, log_scale, panels

OTHER, SECOND = "#e08214", "#9ecae1"
LEAST_GAP, LARGEST_GAP = 0.1, 1000.0  # per cent, where colours end


def schedules(results: Results) -> bytes:
    """The best schedule by each minimiser, the nearest family's best, and behind them all other families'."""
    figure, axes = panels([o.setting.label for o in results.outcomes], columns=3)
    for ax, outcome in zip(axes, results.outcomes, strict=True):
        steps = np.arange(outcome.setting.num_steps)
        rates = {name: s.learning_rates / outcome.setting.rate_unit for name, s in outcome.schedules.items()}
        for family in outcome.fits:
            ax.plot(steps, rates[family], color=CONTEXT, linewidth=0.8)
        front = {outcome.other: SECOND, outcome.best: ACCENT, outcome.nearest_family: OTHER}
        for name, color in front.items():
            ax.plot(steps, rates[name], color=color, linewidth=1.2)
        ax.set_title(f"{outcome.setting.label}\nnearest: {outcome.nearest_family}", fontsize=8)
        ax.set_ylim(0, 1.1 * max(rates[name].max() for name in (outcome.best, outcome.nearest_family)))
    figure.supxlabel("step", fontsize=9)
    figure.supylabel("learning rate / (B (1 - β))", fontsize=9)
    figure.set_size_inches(10, 1.2 + 2 * -(-len(axes) // 3))
    return finished(
        figure,
        f"Best schedules; base: {results.outcomes[0].setting.text}",
        {
            "best found": ACCENT,
            "the other minimiser's best": SECOND,
            "nearest family's best": OTHER,
            "other families' best": CONTEXT,
        },
    )


def gaps(results: Results) -> bytes:
    """How far every family's best lies above the best found, in every setting."""
    base = results.outcomes[0].fits
    families = sorted(base, key=lambda name: base[name].gap.value)
    values = np.array([[100 * o.fits[name].gap.value for o in results.outcomes] for name in families])
    labels = [o.setting.label for o in results.outcomes]
    figure, ax = chart(3.2 + 0.75 * len(labels), 1.8 + 0.32 * len(families), framed=True)
    norm = LogNorm(LEAST_GAP, LARGEST_GAP, clip=True)
    shown = ax.imshow(np.clip(values, LEAST_GAP, LARGEST_GAP), norm=norm, cmap="Blues", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        dark = norm(max(value, LEAST_GAP)) > 0.6
        text = f"{value:.2g}" if abs(value) < 99.5 else f"{value:.0f}" if value < 9999 else f"{value:.0e}"
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    ax.set_xticks(range(len(labels)), labels, fontsize=8)
    ax.set_yticks(range(len(families)), families, fontsize=8)
    bar = figure.colorbar(shown, ax=ax, label="% above the best found")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return finished(figure, "How far each family's best is above the best schedule found")


def mean_field(results: Results) -> bytes:
    """What the mean field promised of its choice, what that does, and what the best found does."""
    outcomes = [o for o in results.outcomes if MEAN_FIELD in o.schedules]
    figure, ax = chart(8, 1.6 + 0.45 * len(outcomes), framed=True)
    ends = []
    for place, outcome in enumerate(outcomes):
        promised = outcome.schedules[MEAN_FIELD].loss
        ax.plot(promised, place, "D", color=REFERENCE)
        for name, color, shift in ((MEAN_FIELD, OTHER, 0.12), (outcome.best, ACCENT, -0.12)):
            low, median, high = np.quantile(outcome.fresh[name], (0.05, 0.5, 0.95))
            ax.plot([low, high], [place + shift] * 2, color=color, linewidth=3)
            ax.plot(median, place + shift, "o", color=color)
            ends += [low, high]
        ends.append(promised)
    ax.set_yticks(range(len(outcomes)), [o.setting.label for o in outcomes], fontsize=8)
    ax.invert_yaxis()
    log_scale(ax, "x", ends)
    ax.set_xlabel("loss on fresh kernels: median, and 5 % to 95 % of kernels")
    return finished(
        figure,
        "What the mean field promises, and what is true",
        {"mean field's promise": REFERENCE, "mean field's choice": OTHER, "best found": ACCENT},
    )
