"""The figures of the study of calibration, each as PNG bytes with its message as the title."""

import matplotlib
import numpy as np

from experiments.focal.claims import ece, mean_ece
from experiments.focal.config import ERM, Invariant
from experiments.focal.runs import SHARPNESS, Results
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, finished, log_scale, panels
from experiments.study.training.tasks import DIGITS
from schedules.search import median_estimate


def focal(results: Results) -> bytes:
    """Calibration and sharpness over γ, medians with intervals."""
    shown = {
        "ECE as trained": lambda c: mean_ece(c, DIGITS.trained, results),
        "ECE shifted": lambda c: mean_ece(c, DIGITS.shifted, results),
    } | {name: lambda c, name=name: results.outcomes[c].metrics[name] for name in SHARPNESS}
    figure, axes = panels(list(shown), columns=3)
    gammas = [contestant.gamma for contestant in results.config.focal]
    for ax, values in zip(axes, shown.values(), strict=True):
        found = np.array(
            [median_estimate(values(c), results.config.confidence) for c in results.config.focal]
        )
        ax.plot(gammas, found[:, 0], "o-", color=ACCENT, markersize=4, linewidth=1)
        ax.vlines(gammas, *found[:, 1:].T, color=ACCENT, linewidth=2)
        log_scale(ax, "y", found.ravel())
    figure.supxlabel("γ of the focal loss; 0 is the cross-entropy", fontsize=9)
    return finished(figure, "Does a flatter loss know better what it knows?")


def environments(results: Results) -> bytes:
    """The ECE and the error of every loss in every environment, a panel a method, erm behind it."""
    conditions = results.config.coloured.conditions
    flips = [float(condition.removeprefix("flip ")) for condition in conditions]
    methods = list(dict.fromkeys(c.method for c in results.config.invariant if c.method != ERM))
    figure, axes = panels(
        [f"{method}: {kind}" for kind in ("ECE", "error") for method in methods], columns=len(methods)
    )
    erm = Invariant(ERM, 0.0)

    def calibration(contestant: Invariant) -> list[float]:
        return np.median(ece(contestant, conditions, results), axis=1).tolist()

    def error(contestant: Invariant) -> list[float]:
        return [float(results.outcomes[contestant].errors[c].values) for c in conditions]

    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.1, 0.9, len(results.config.weights)))
    colors = dict(zip(results.config.weights, map(matplotlib.colors.to_hex, shades), strict=True))
    for place, ax in enumerate(axes):
        values = calibration if place < len(methods) else error
        tried = [c for c in results.config.invariant if c.method == methods[place % len(methods)]]
        ax.plot(flips, values(erm), color=CONTEXT, linewidth=4, solid_capstyle="round")
        for contestant, color in zip(tried, colors.values(), strict=True):
            ax.plot(flips, values(contestant), ".-", color=color, linewidth=1)
        ax.axhline(0 if place < len(methods) else 0.25, color=REFERENCE, linewidth=0.7, zorder=0)
        ax.set_ylim(0)
    figure.supxlabel("share of flipped colours; .1 and .2 are trained on", fontsize=9)
    legend = {f"weight {weight:g} (group_dro: η {weight / 100:g})": c for weight, c in colors.items()}
    message = "What do invariant losses make of a colour that misleads?"
    return finished(figure, message, legend | {ERM: CONTEXT, "error by shape alone": REFERENCE})
