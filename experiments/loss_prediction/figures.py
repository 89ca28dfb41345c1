"""The figures of a study of loss prediction, each as PNG bytes with its message as the title."""

import numpy as np
from matplotlib.figure import Figure

from experiments.loss_prediction.ranking import LAW
from experiments.loss_prediction.results import WINNER, Results
from experiments.loss_prediction.trials import ANY
from experiments.study.figures import (
    ACCENT,
    CONTEXT,
    REFERENCE,
    as_png,
    legend_beside,
    log_scale,
    panels,
    ranking,
)


def curves(results: Results) -> bytes:
    """The loss curves that the law was fitted on, and what it says of them, a panel a run."""
    fitted = results.curves
    titles = [f"{s.shape.family.name}, peak {s.base_lr:.3g}" for s in fitted.schedules]
    figure, axes = panels(titles, columns=3, sharex=True, sharey=True)
    for ax, measured, predicted in zip(axes, fitted.measured, fitted.predicted, strict=True):
        ax.plot(fitted.steps, predicted, color=ACCENT)
        ax.plot(fitted.steps, measured, "o", color=REFERENCE, markersize=4)
    log_scale(axes[0], "y", [*fitted.measured.ravel(), *fitted.predicted[fitted.predicted > 0]])
    figure.supxlabel("updates")
    figure.supylabel(results.config.metric)
    legend_beside(figure, {"fitted law": ACCENT, "measured, median over seeds": REFERENCE})
    figure.suptitle("The curves that the law was fitted on")
    return as_png(figure)


def predictions(results: Results) -> bytes:
    """Every unseen shape's measured loss against what the law says, a panel a pool."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for ax, (name, pool) in zip(figure.subplots(1, 2), results.pools.items(), strict=True):
        correlation = results.overall[name].estimate(LAW, results.config.confidence)
        predicted = pool.predictions[LAW]
        shown = np.isfinite(pool.scored) & (predicted > 0)
        best = np.isin(np.arange(len(predicted)), pool.best(results.config.num_best))
        for chosen, color in ((shown & ~best, REFERENCE), (shown & best, ACCENT)):
            ax.plot(predicted[chosen], pool.scored[chosen], "o", color=color, markersize=4, alpha=0.7)
        low, high = np.min(pool.scored[shown]), np.max(pool.scored[shown])
        ax.plot([low, high], [low, high], color=CONTEXT, zorder=0)
        log_scale(ax, "x", predicted[shown])
        log_scale(ax, "y", pool.scored[shown])
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_title(f"{name}: rank correlation {correlation.value:.2f}", fontsize=10)
        ax.set_xlabel(f"predicted {results.config.metric}")
        ax.set_ylabel(f"measured {results.config.metric}")
    best_label = f"best {results.config.best_fraction:.0%}, by other seeds"
    legend_beside(figure, {"unseen shape": REFERENCE, best_label: ACCENT, "equal": CONTEXT})
    figure.suptitle("Does the law rank schedules that it has not seen?")
    return as_png(figure)


def contest(results: Results) -> bytes:
    """The winner and what was proposed, at any learning rate, each with its interval."""
    score = f"{results.config.metric}, median of {results.config.confirm_replicates} fresh seeds"
    return ranking(results.contests[ANY], WINNER, score, "How good is what the law proposes?")
