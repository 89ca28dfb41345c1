"""The figures of a study of loss prediction, each as PNG bytes with its message as the title."""

import itertools

import numpy as np
from matplotlib.figure import Figure

from experiments.loss_prediction.law import AS_PUBLISHED, WITH_WARMUP
from experiments.loss_prediction.runs import WINNER, Results
from experiments.loss_prediction.shapes import ANY
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, finished, log_scale, panels, ranking

COLORS = {AS_PUBLISHED: ACCENT, WITH_WARMUP: "#e08214"}


def curves(results: Results) -> bytes:
    """The loss curves that the laws were fitted on, and what they say of them, a panel a run."""
    measured = results.curves
    titles = [f"{s.family.name}, peak {s.base_lr:.3g}" for s in measured.schedules]
    figure, axes = panels(titles, columns=3, sharex=True, sharey=True)
    for run, ax in enumerate(axes):
        for name, law in results.laws.items():
            ax.plot(measured.steps, law.losses[run], color=COLORS[name])
        ax.plot(measured.steps, measured.losses[run], "o", color=REFERENCE, markersize=4)
    shown = np.stack([measured.losses, *(law.losses for law in results.laws.values())])
    log_scale(axes[0], "y", shown[shown > 0])
    figure.supxlabel("updates")
    figure.supylabel(results.config.metric)
    return finished(
        figure, "The curves that the laws were fitted on", COLORS | {"measured, median over seeds": REFERENCE}
    )


def predictions(results: Results) -> bytes:
    """Every unseen shape's measured loss against what a law says, a row a law and a column a pool."""
    config = results.config
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots(len(results.laws), len(results.pools), sharex="col", sharey="col")
    for ax, (law, name) in zip(axes.flat, itertools.product(results.laws, results.pools), strict=True):
        pool, predicted = results.pools[name], results.pools[name].predictions[law]
        shown = np.isfinite(pool.scored) & (predicted > 0)
        best = np.isin(np.arange(len(predicted)), pool.best(config.num_best))
        for chosen, color in ((shown & ~best, REFERENCE), (shown & best, COLORS[law])):
            ax.plot(predicted[chosen], pool.scored[chosen], "o", color=color, markersize=4, alpha=0.7)
        ends = np.min(pool.scored[shown]), np.max(pool.scored[shown])
        ax.plot(ends, ends, color=CONTEXT, zorder=0)
        all_laws = np.concatenate([pool.predictions[other] for other in results.laws])
        log_scale(ax, "x", all_laws[all_laws > 0])
        log_scale(ax, "y", pool.scored[shown])
        ax.spines[["top", "right"]].set_visible(False)
        correlation = results.overall[name].estimate(law).value
        ax.set_title(f"{law}, {name}: rank correlation {correlation:.2f}", fontsize=10)
    figure.supxlabel(f"predicted {config.metric}")
    figure.supylabel(f"measured {config.metric}")
    best_shapes = {f"best {config.best_fraction:.0%}, {law}": color for law, color in COLORS.items()}
    return finished(
        figure,
        "Do the laws rank schedules that they have not seen?",
        {"unseen shape": REFERENCE} | best_shapes | {"equal": CONTEXT},
    )


def contest(results: Results) -> bytes:
    """The winner and what was proposed, at any learning rate, each with its interval."""
    score = f"{results.config.metric}, median of {results.config.confirm_replicates} fresh seeds"
    return ranking(list(results.contests[ANY].values()), WINNER, score, "How good is what the laws propose?")
