"""The figures of the study, each as PNG bytes with its message as the title."""

import numpy as np

from experiments.ingredients.claims import change
from experiments.ingredients.config import ALL, Contestant
from experiments.ingredients.predictors import PREDICTORS
from experiments.ingredients.problems import LOSS, Digits, Regression, Text
from experiments.ingredients.runs import Results
from experiments.ingredients.variants import MUON, VARIANTS
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished, log_scale, panels
from schedules.search import Estimate, median_estimate

WORSE = "#c4501b"
KINDS = {Digits: ("digits", ACCENT), Regression: ("regression", WORSE), Text: ("text", "#2b8a5e")}


def ingredients(results: Results) -> bytes:
    """The loss of every variant with its interval, those of an ingredient together."""
    config, compared = results.config, results.config.compared
    figure, ax = chart(8.5, 1.4 + 0.27 * len(compared), framed=True)
    ends = []
    for place, name in enumerate(compared):
        scores = results.tuned[Contestant(config.main_problem, name)].scores
        loss = median_estimate(scores, config.confidence)
        color = REFERENCE if name == MUON else _color(change(name, MUON, results))
        ax.plot([loss.low, loss.high], [place, place], color=color, linewidth=3)
        ax.plot(loss.value, place, "o", color=color)
        ends += loss
        if name == MUON:
            ax.axvline(loss.value, color=CONTEXT, zorder=0)
    rules = [VARIANTS[name] for name in compared]
    ax.set_yticks(range(len(rules)), [f"{r.ingredient}: {r.words}" if r.ingredient else MUON for r in rules])
    ax.invert_yaxis()
    log_scale(ax, "x", ends)
    ax.set_xlabel(f"{LOSS}, median of {config.confirm_replicates} fresh seeds")
    colors = {"below Muon": ACCENT, "not told apart": REFERENCE, "above Muon": WORSE}
    return finished(figure, "What of Muon matters", colors)


def predictors(results: Results) -> bytes:
    """The gain over AdamW in every setting against each predictor."""
    config = results.config
    correlations = results.correlations[ALL]
    titles = [
        f"{name.replace('_', ' ')}\nρ = {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"
        for name, e in ((name, correlations.estimate(name)) for name in PREDICTORS)
    ]
    figure, axes = panels(titles, columns=3, sharey=True)
    for problem in config.settings:
        value, low, high = results.gain(problem)
        _, color = KINDS[type(problem)]
        for ax, name in zip(axes, PREDICTORS, strict=True):
            measured = np.median(results.measured[problem][name])
            ax.plot([measured, measured], [low, high], color=color, linewidth=1)
            ax.plot(measured, value, "o", color=color, markersize=4)
    for ax in axes:
        ax.axhline(0, color=CONTEXT, zorder=0)
    figure.supylabel("gain: ln(AdamW's loss / Muon's)", fontsize=9)
    figure.supxlabel("measured before training, natural logarithm", fontsize=9)
    kinds = dict.fromkeys(map(type, config.settings))  # in the order of the settings
    return finished(figure, "Does anything tell when Muon helps?", dict(KINDS[kind] for kind in kinds))


def _color(difference: Estimate) -> str:
    """Whether the interval of a change lies below zero, above, or holds it."""
    return ACCENT if difference.high < 0 else WORSE if difference.low > 0 else REFERENCE
