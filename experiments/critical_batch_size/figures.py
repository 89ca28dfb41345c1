"""The figures of a study of critical batch sizes, each as PNG bytes with its question as the title."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.critical_batch_size.config import Config, Variant
from experiments.critical_batch_size.critical import FORMS, OWN, Curve, noise_of
from experiments.critical_batch_size.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished, log_scale, panels
from geometry import EUCLIDEAN, HYPERBOLA, BatchLaw
from schedules.search import median_estimate

EXTRAPOLATED = 4.0  # times the largest batch size, how far laws are drawn
ORANGE = "#e08214"
FORM_COLORS = dict(zip((form.name for form in FORMS), (ACCENT, ORANGE, "#7b3294"), strict=True))
OPTIMIZER_COLORS = ("#0b6fb8", "#e08214", "#1b7837", "#7b3294", "#b2182b", "#555555")


def steps(results: Results) -> bytes:
    """Every optimizer's steps to the target against the batch size, with the fitted laws."""
    variants = [Variant.usual(name) for name in results.config.optimizers]
    figure, axes = panels([v.name for v in variants], columns=3, sharex=True, sharey=True)
    shown = []
    for ax, variant in zip(axes, variants, strict=True):
        critical, sizes = results.criticals[variant], _dense(results)
        for name, color in reversed(FORM_COLORS.items()):
            ax.plot(sizes, critical.fits[name].fit.law.steps(sizes), color=color, linewidth=1.2)
        shown += _measured(ax, results.curves[variant], results.config)
        if critical.determined:
            ax.axvline(critical.batch.value, color=CONTEXT, linewidth=3, zorder=0)
    log_scale(axes[0], "y", shown)
    _batch_axis(axes[0], results)
    figure.supxlabel("batch size (examples)")
    figure.supylabel(f"steps to {results.config.metric} ≤ {results.config.target:g}")
    return finished(
        figure,
        "Up to which batch size do larger batches save steps?",
        {"measured (medians)": "black"}
        | {f"{name} fit": color for name, color in FORM_COLORS.items()}
        | {"critical batch": CONTEXT},
    )


def samples(results: Results) -> bytes:
    """Every optimizer's samples to the target against the batch size, its critical batch marked."""
    figure, ax = chart(8.5, 4.2)
    shown, colors = [], {}
    for name, color in zip(results.config.optimizers, OPTIMIZER_COLORS, strict=False):
        variant = Variant.usual(name)
        critical, sizes = results.criticals[variant], _dense(results)
        medians = [point.batch_size * np.median(point.steps) for point in results.curves[variant]]
        ax.plot(results.config.batch_sizes, medians, "o", color=color, markersize=4)
        law: BatchLaw = critical.fits[HYPERBOLA.name].fit.law
        ax.plot(sizes, law.samples(sizes), color=color, linewidth=1)
        shown += [*medians, *law.samples(sizes)]
        if critical.determined and critical.batch.value <= sizes[-1]:
            ax.plot(critical.batch.value, law.samples(critical.batch.value), "D", color=color, markersize=8)
        colors[variant.name] = color
    log_scale(ax, "y", shown)
    _batch_axis(ax, results)
    ax.set_xlabel("batch size (examples);  ◆ critical batch")
    ax.set_ylabel(f"examples to {results.config.metric} ≤ {results.config.target:g}")
    return finished(figure, "From which batch size on are examples wasted?", colors)


def critical_batches(results: Results) -> bytes:
    """Every variant's critical batch with its interval, beside its noise scales; the largest on top."""
    confidence = results.config.confidence
    determined = {v: c for v, c in results.criticals.items() if c.determined}
    ranked = sorted(determined, key=lambda variant: -determined[variant].batch.value)
    figure, ax = chart(8.5, 1.5 + 0.28 * len(ranked))
    shown = []
    for place, variant in enumerate(ranked):
        estimate = determined[variant].batch.estimate(confidence)
        euclidean = determined[variant].noise[EUCLIDEAN.name].value
        own = noise_of(variant, determined[variant], OWN).value
        ax.plot([estimate.low, estimate.high], [place, place], color=ACCENT, linewidth=3)
        ax.plot(estimate.value, place, "o", color=ACCENT)
        ax.plot(euclidean, place, "|", color=REFERENCE, markersize=12, markeredgewidth=2.5)
        ax.plot(own, place, "D", color=ORANGE, markersize=5)
        shown += [estimate.value, estimate.low, estimate.high, euclidean, own]
    ax.set_yticks(range(len(ranked)), [variant.name for variant in ranked])
    ax.invert_yaxis()
    log_scale(ax, "x", [value for value in shown if value > 0])
    ax.set_xlabel("examples")
    return finished(
        figure,
        "Does the noise scale tell the critical batch?",
        {
            f"critical batch, {confidence:.0%} interval": ACCENT,
            "noise scale, own geometry ◆": ORANGE,
            "noise scale, Euclidean |": REFERENCE,
        },
    )


def effects(results: Results) -> bytes:
    """The critical batch over momentum, with what the theory says; then with weight decay."""
    config = results.config
    decayed = [name for name in config.decay_optimizers if config.decays]
    titles = [*config.momentum_optimizers, *decayed]
    figure, axes = panels(titles, columns=3, sharey=True)
    shown = []
    for ax, name in zip(axes, config.momentum_optimizers, strict=False):
        plain = [v for v in results.criticals if v.optimizer == name and not v.weight_decay]
        variants = sorted(plain, key=lambda variant: variant.momentum)
        shown += _intervals(ax, {f"{v.momentum:g}": v for v in variants}, results)
        _theory(ax, variants, results)
        ax.set_xlabel("momentum β", fontsize=8)
    for ax, name in zip(axes[len(config.momentum_optimizers) :], decayed, strict=True):
        usual = Variant.usual(name)
        variants = [usual, *(usual._replace(weight_decay=decay) for decay in sorted(config.decays))]
        shown += _intervals(ax, {f"{v.weight_decay:g}": v for v in variants}, results)
        ax.set_xlabel("weight decay λ", fontsize=8)
    positive = [value for value in shown if value > 0]
    if positive:  # where the theory goes off below, the measured ones would be squeezed to tell how far
        log_scale(axes[0], "y", [min(positive) / 4, *positive])
    figure.supylabel("critical batch (examples)")
    figure.supxlabel("△: not determined", fontsize=9)
    return finished(
        figure,
        "Does momentum or weight decay change the critical batch?",
        {f"measured, {config.confidence:.0%} interval": ACCENT, "theory: ∝ V(β)": REFERENCE},
    )


def _theory(ax: Axes, variants: Sequence[Variant], results: Results) -> None:
    factors = np.array([variant.noise_factor for variant in variants])
    expected = results.criticals[variants[0]].batch.value * factors / factors[0]
    ax.plot(range(len(variants)), expected, "--", color=REFERENCE, zorder=0)


def _intervals(ax: Axes, variants: Mapping[str, Variant], results: Results) -> list[float]:
    """The critical batch of every variant at its label; returns the values shown.

    Where it is not determined, a hollow triangle at the top.
    """
    shown = []
    for place, variant in enumerate(variants.values()):
        if not results.criticals[variant].determined:
            at_top = ax.get_xaxis_transform()
            ax.plot(place, 0.95, "^", color=ACCENT, markerfacecolor="none", transform=at_top)
            continue
        estimate = results.criticals[variant].batch.estimate(results.config.confidence)
        ax.plot([place, place], [estimate.low, estimate.high], color=ACCENT, linewidth=3)
        ax.plot(place, estimate.value, "o", color=ACCENT)
        shown += estimate
    ax.set_xticks(range(len(variants)), list(variants))
    ax.set_xlim(-0.5, len(variants) - 0.5)
    return shown


def _measured(ax: Axes, curve: Curve, config: Config) -> list[float]:
    """Median steps with intervals; where the median run never got there, a hollow triangle at the horizon."""
    shown = []
    for point in curve:
        size, horizon = point.batch_size, config.horizon(point.batch_size)
        estimate = median_estimate(point.steps, config.confidence)
        if np.isinf(estimate.value):
            ax.plot(size, horizon, "^", color="black", markerfacecolor="none", markersize=6)
        else:
            ax.plot([size, size], [estimate.low, min(estimate.high, horizon)], color="black")
            ax.plot(size, estimate.value, "o", color="black", markersize=4)
        shown.append(min(estimate.value, horizon))
    return shown


def _dense(results: Results) -> np.ndarray:
    """Batch sizes to draw a law at, as far as the largest measured one or critical batch near it."""
    sizes = results.config.batch_sizes
    usual = [results.criticals[Variant.usual(name)].batch.value for name in results.config.optimizers]
    shown = [value for value in usual if value < EXTRAPOLATED * sizes[-1]]
    return np.geomspace(sizes[0], max(sizes[-1], *shown, 1), 200)


def _batch_axis(ax: Axes, results: Results) -> None:
    sizes = results.config.batch_sizes
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xlim(sizes[0] / 1.2, _dense(results)[-1] * 1.2)
