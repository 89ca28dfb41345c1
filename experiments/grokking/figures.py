"""The figures of grokking, each as PNG bytes with its message as the title."""

import numpy as np

from experiments.grokking.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished, log_scale, panels
from schedules.search import median_estimate

FITTED, GENERALISED = REFERENCE, ACCENT


def errors(results: Results) -> bytes:
    """The median error on training and on other pairs over steps, with every run's behind, a panel each."""
    steps = results.config.curve_steps
    names = [outcome.contestant.name for outcome in results.outcomes.values()]
    figure, axes = panels(names, columns=len(results.config.remedies), sharex=True, sharey=True)
    colors = {"train_error": FITTED, "test_error": GENERALISED}
    for ax, outcome in zip(axes, results.outcomes.values(), strict=True):
        ax.plot(steps, outcome.errors["test_error"].T, color=CONTEXT, linewidth=0.6)
        for name, color in colors.items():
            ax.plot(steps, np.median(outcome.errors[name], axis=0), color=color)
    log_scale(axes[0], "x", steps)
    axes[0].set_ylim(-0.02, 1.02)
    figure.supxlabel("steps", fontsize=9)
    figure.supylabel("error", fontsize=9)
    told = {"training pairs": FITTED, "other pairs": GENERALISED, "of each seed": CONTEXT}
    return finished(figure, "A network that fits may generalise long after, or never", told)


def delays(results: Results) -> bytes:
    """When every contestant fits and when it generalises; what does not reaches beyond the horizon."""
    config = results.config
    figure, ax = chart(8, 1.4 + 0.32 * len(results.outcomes))
    outcomes = sorted(results.outcomes.values(), key=lambda outcome: np.median(outcome.tuned.scores))
    beyond = 1.25 * config.num_steps

    def shown(values):
        return np.minimum(median_estimate(values, config.confidence), beyond)

    for place, outcome in enumerate(outcomes):
        fitted, generalised = shown(outcome.fitted), shown(outcome.generalised)
        ax.plot([fitted[0], generalised[0]], [place, place], color=CONTEXT, linewidth=1, zorder=0)
        for (value, low, high), color in ((fitted, FITTED), (generalised, GENERALISED)):
            ax.plot([low, high], [place, place], color=color, linewidth=3)
            ax.plot(value, place, "o" if value < beyond else ">", color=color)
    ax.axvline(config.num_steps, color=CONTEXT, linestyle="--", zorder=0)
    ax.set_yticks(range(len(outcomes)), [outcome.contestant.name for outcome in outcomes])
    ax.invert_yaxis()
    log_scale(ax, "x", [*config.curve_steps, beyond])
    ax.set_xlabel(f"steps, median of {config.confirm_replicates} fresh seeds; > is beyond the horizon")
    return finished(
        figure, "How long from fitting to generalising?", {"fits": FITTED, "generalises": GENERALISED}
    )


def rates(results: Results) -> bytes:
    """Steps until every contestant generalises over learning rates, in the screening, a panel a remedy."""
    config = results.config
    figure, axes = panels([*config.remedies], columns=len(config.remedies), sharex=True, sharey=True)
    colors = dict(zip(config.optimizers, (ACCENT, "#e08214"), strict=False))
    tried = []
    for (optimizer, remedy), outcome in results.outcomes.items():
        curve = outcome.tuned.curve(None)
        axes[config.remedies.index(remedy)].plot(*zip(*curve, strict=True), ".-", color=colors[optimizer])
        tried += curve
    for ax in axes:
        ax.axhline(config.num_steps, color=CONTEXT, linestyle="--", zorder=0)
    log_scale(axes[0], "x", [rate for rate, _ in tried])
    log_scale(axes[0], "y", [score for _, score in tried])
    figure.supxlabel("learning rate", fontsize=9)
    figure.supylabel("steps (screening)", fontsize=9)
    return finished(
        figure, "When each generalises, by its learning rate; above the line, not in time", colors
    )
