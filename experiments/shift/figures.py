"""The figures of the study of shifts, each as PNG bytes with its message as the title."""

import matplotlib
import numpy as np

from experiments.shift.config import COSINE, TASKS, Contestant
from experiments.shift.equal_error import points
from experiments.shift.runs import Results
from experiments.study.showing.figures import CONTEXT, finished, panels
from experiments.study.training.cross_validation import of_condition
from experiments.study.training.tasks import IN_DISTRIBUTION


def curves(results: Results) -> bytes:
    """The shifted accuracy of every setting over its accuracy in distribution, by kind of shift."""
    kinds = [(task, kind) for task in results.config.tasks for kind in TASKS[task].shifts]
    figure, axes = panels([kind for _, kind in kinds], columns=3)
    colors = _colors(results)
    for ax, (task, kind) in zip(axes, kinds, strict=True):
        compared = points(task, results)
        trained, shifted = (1 - compared.shares(name).values for name in (IN_DISTRIBUTION, kind))
        shades = [colors[contestant.optimizer] for contestant in compared.contestants]
        ax.scatter(trained, shifted, s=7, c=shades, alpha=0.7, linewidths=0)
    figure.supxlabel("accuracy in distribution", fontsize=9)
    figure.supylabel("accuracy on shifted images", fontsize=9)
    return finished(figure, "Is who is better in distribution better out of it?", colors)


def severities(results: Results) -> bytes:
    """The error of every optimizer with the cosine at each severity of each shift."""
    return _over_conditions(
        results,
        lambda contestant, condition: float(results.outcomes[contestant].errors[condition].values),
        "error",
        "How much do errors grow with the shift?",
    )


def calibration(results: Results) -> bytes:
    """The calibration error likewise, with what chance makes of it."""
    return _over_conditions(
        results,
        lambda contestant, condition: results.outcomes[contestant].medians[of_condition("ece", condition)],
        "ECE, median of runs",
        "Is who knows what it knows calibrated on shifted images too?",
        lambda contestant, condition: results.outcomes[contestant].medians[
            of_condition("chance_ece", condition)
        ],
    )


def _over_conditions(results: Results, value, label: str, message: str, chance=None) -> bytes:
    kinds = [(task, kind) for task in results.config.tasks for kind in TASKS[task].shifts]
    figure, axes = panels([kind for _, kind in kinds], columns=3)
    colors = _colors(results)
    for ax, (task, kind) in zip(axes, kinds, strict=True):
        shown = *TASKS[task].trained, *TASKS[task].shifts[kind]
        for optimizer, color in colors.items():
            contestant = Contestant(task, optimizer, COSINE)
            values = [value(contestant, condition) for condition in shown]
            ax.plot(range(len(shown)), values, ".-", color=color, linewidth=1)
            if chance is not None:
                ax.plot(range(len(shown)), [chance(contestant, c) for c in shown], color=CONTEXT, zorder=0)
        ax.set_xticks(range(len(shown)), [condition.removeprefix(f"{kind} ") for condition in shown])
        ax.tick_params(axis="x", labelsize=6)
        ax.set_ylim(0)
    figure.supylabel(label, fontsize=9)
    return finished(figure, message, colors | ({"chance": CONTEXT} if chance else {}))


def _colors(results: Results) -> dict[str, str]:
    shades = matplotlib.colormaps["tab10"](np.arange(len(results.config.compared)))
    return dict(zip(results.config.compared, map(matplotlib.colors.to_hex, shades), strict=True))
