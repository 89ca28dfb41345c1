"""The figures of an optimizer comparison, each as PNG bytes with its message as the title."""

import numpy as np

from experiments.optimizer_comparison.claims import REFERENCE as BASELINE
from experiments.optimizer_comparison.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, finished, log_scale, panels, ranking
from experiments.study.training.tuning import Tuned

DECAY_COLORS = ("#0b6fb8", "#e08214", "#7b3294", "#1b7837")


def scores(results: Results) -> bytes:
    """Every optimizer's confirmed score with its interval, best on top."""
    score = f"{results.config.metric}, median of {results.config.confirm_replicates} fresh seeds"
    message = "Which optimizer wins, and how sure that is"
    return ranking(results.standings, BASELINE, score, message)


def paces(results: Results) -> bytes:
    """Each optimizer's median run over steps and over seconds, one panel each, the reference behind it."""
    titles = [f"{standing.name}  {standing.score.value:.3g}" for standing in results.standings]
    figure, axes = panels(titles, columns=5, sharex=True, sharey=True)
    steps = np.array(results.config.curve_steps)
    reference = results.paces[BASELINE]
    shown = [pace.curve for pace in results.paces.values()]
    for ax, standing in zip(axes, results.standings, strict=True):
        pace = results.paces[standing.name]
        ax.plot(steps, reference.curve, color=CONTEXT, linewidth=4, solid_capstyle="round")
        ax.plot(steps, pace.curve, color=ACCENT)
        ax.plot(steps * pace.relative_step, pace.curve, color=REFERENCE, linestyle="--")
    slowest = max(pace.relative_step for pace in results.paces.values())
    axes[0].set_xlim(0, min(3, max(1, slowest)) * steps[-1])
    log_scale(axes[0], "y", [value for curve in shown for value in curve])
    figure.supxlabel(f"steps; time in the time that {BASELINE} takes for a step")
    figure.supylabel(results.config.metric)
    return finished(
        figure,
        "How fast each optimizer gets there, in steps and in time",
        {"over steps": ACCENT, "over time": REFERENCE, f"{BASELINE}": CONTEXT},
    )


def tuning(results: Results) -> bytes:
    """Each optimizer's screening score over learning rates, a line for each decay."""
    figure, axes = panels([s.name for s in results.standings], columns=5, sharey=True)
    decays = results.config.decays
    colors = dict(zip(decays, DECAY_COLORS * len(decays), strict=False))
    finite = []
    for ax, standing in zip(axes, results.standings, strict=True):
        tuned: Tuned = standing.winner
        for decay, color in colors.items():
            points = tuned.curve(decay)
            ax.plot(*zip(*points, strict=True), ".-", color=color, linewidth=1)
            finite += [score for _, score in points]
        ax.axvline(tuned.setting.learning_rate, color=CONTEXT, zorder=0)
        log_scale(ax, "x", [s.learning_rate for s in tuned.screened])
        ax.tick_params(axis="x", labelsize=7)
    highest = 3 * max(min(standing.winner.screened.values()) for standing in results.standings)
    log_scale(axes[0], "y", [min(score, highest) for score in finite if np.isfinite(score)])
    figure.supxlabel("learning rate")
    figure.supylabel(f"{results.config.metric} (screening)")
    return finished(
        figure,
        "How each optimizer depends on its learning rate and decay",
        {f"decay {decay:g} a step": color for decay, color in colors.items()} | {"best": CONTEXT},
    )
