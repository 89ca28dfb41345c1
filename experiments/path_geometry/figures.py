"""The figures of a study of path geometry, each as PNG bytes with its message as the title."""

import itertools

import numpy as np

from experiments.path_geometry.config import BASELINE, PRESCRIBED, UNTUNED
from experiments.path_geometry.paths import LABELS, NOISE, RANDOM_LABELS, Group, walk_along
from experiments.path_geometry.runs import Results
from experiments.study.showing.figures import (
    ACCENT,
    CONTEXT,
    REFERENCE,
    chart,
    finished,
    log_scale,
    panels,
    ranking,
)
from experiments.study.statistics.curves import typical
from schedules.search import Standing, median_estimate

BATCH_COLORS = ("#9ecae1", "#0b6fb8", "#08306b")
CONTROL = "#e08214"
CURVE_POINTS = 400


def along_training(results: Results) -> bytes:
    """γ along training, of gradients above and updates below, by batch size; behind it random labels, random
    directions, and what the steps of a random walk have."""
    config, paths = results.config, results.paths
    steps = np.array(config.probed_steps)
    walk = walk_along(config)
    noise = NOISE / np.sqrt(paths.parameters)
    shown = list(itertools.product(("gradient", "update"), config.optimizers))
    titles = [f"{optimizer}, {vector}" for vector, optimizer in shown]
    figure, axes = panels(titles, columns=len(config.optimizers), sharex=True, sharey=True)
    for ax, (vector, optimizer) in zip(axes, shown, strict=True):
        ax.axhspan(-noise, noise, color=CONTEXT, linewidth=0)
        if vector == "update":
            ax.plot(steps, walk, color=REFERENCE, linestyle=":")
        random = Group(optimizer, config.middle_batch, RANDOM_LABELS)
        ax.plot(steps, np.median(paths.cosines(random, vector), axis=0), color=CONTROL)
        for size, color in _batch_colors(config.batch_sizes).items():
            cosines = paths.cosines(Group(optimizer, size), vector)
            ax.plot(steps, np.median(cosines, axis=0), color=color)
    figure.supxlabel("step")
    figure.supylabel("γ, median over seeds")
    colors = reversed(_batch_colors(config.batch_sizes).items())
    others = {
        f"{RANDOM_LABELS} ({config.middle_batch})": CONTROL,
        "random walk (dotted)": REFERENCE,
        "random directions": CONTEXT,
    }
    return finished(
        figure, "Is γ more than chance?", {f"batch {size}": color for size, color in colors} | others
    )


def against_batch(results: Results) -> bytes:
    """The median γ of a run against its batch size, with intervals over seeds, true and random labels."""
    config, paths = results.config, results.paths
    colors = dict(zip(LABELS, (ACCENT, CONTROL), strict=True))
    figure, axes = panels(config.optimizers, columns=4, sharex=True, sharey=True)
    for ax, optimizer in zip(axes, config.optimizers, strict=True):
        for labels, color in colors.items():
            estimates = [
                median_estimate(typical(paths.cosines(Group(optimizer, size, labels))), config.confidence)
                for size in config.batch_sizes
            ]
            value, low, high = np.transpose(estimates)
            ax.plot(config.batch_sizes, value, "o-", color=color, markersize=4)
            ax.fill_between(config.batch_sizes, low, high, color=color, alpha=0.25, linewidth=0)
        ax.set_ylim(bottom=0)
    axes[0].set_xscale("log", base=2)
    axes[0].set_xticks(config.batch_sizes, [str(size) for size in config.batch_sizes])
    figure.supxlabel("batch size")
    figure.supylabel("γ, median along a run")
    return finished(figure, "Does γ grow with the batch? (shaded: intervals over seeds)", colors)


def schedules(results: Results) -> bytes:
    """The prescribed schedule, as it is and at its best base learning rate, beside cosine and the winner."""
    by_name = {standing.name: standing for standing in results.standings}
    searched = next(s for s in results.standings if s.name not in (UNTUNED, PRESCRIBED))
    figure, ax = chart(8, 4)
    shown = {
        UNTUNED: (by_name[UNTUNED], CONTROL),
        f"{PRESCRIBED}, base rate tuned": (by_name[PRESCRIBED], ACCENT),
        f"{searched.name}, best searched": (searched, BATCH_COLORS[-1]),
        f"{BASELINE}, searched": (by_name[BASELINE], REFERENCE),
    }
    for standing, color in shown.values():
        ax.plot(*_learning_rates(standing), color=color)
    smallest = min(standing.winner.base_lr for standing, _ in shown.values()) / 100
    rates = np.concatenate([_learning_rates(standing)[1] for standing, _ in shown.values()])
    log_scale(ax, "y", rates[rates > smallest])
    ax.set_xlabel("fraction of training done")
    ax.set_ylabel("learning rate")
    return finished(
        figure,
        "The prescribed step beside searched ones",
        {label: color for label, (_, color) in shown.items()},
    )


def scores(results: Results) -> bytes:
    """Every schedule's confirmed score with its interval, best on top."""
    score = f"{results.config.metric}, median of {results.config.confirm_replicates} fresh seeds"
    return ranking(results.standings, BASELINE, score, "Does the prescribed schedule pay?")


def _learning_rates(standing: Standing) -> tuple[np.ndarray, np.ndarray]:
    candidate = standing.winner.candidate
    multipliers = np.asarray(candidate.family.multipliers(candidate.params, CURVE_POINTS))
    return np.arange(CURVE_POINTS) / CURVE_POINTS, candidate.base_lr * multipliers


def _batch_colors(sizes: tuple[int, ...]) -> dict[int, str]:
    """Darker for larger batches."""
    places = np.linspace(0, len(BATCH_COLORS) - 1, len(sizes)).round().astype(int)
    return {size: BATCH_COLORS[place] for size, place in zip(sizes, places, strict=True)}
