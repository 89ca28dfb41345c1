"""What a study of critical batch sizes found: its tables, and winners.json."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.critical_batch_size.claims import (
    Effect,
    all_claims,
    decay_effects,
    momentum_effects,
)
from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.critical import FORMS, Critical, critical_batch
from experiments.critical_batch_size.measured import Curve
from experiments.critical_batch_size.prediction import Prediction, noise_of, predictions
from experiments.critical_batch_size.variants import Variant
from experiments.study.options.pairs import workload_text
from experiments.study.showing.old_claims import Claim
from experiments.study.showing.tables import estimate_text
from experiments.study.storage.journal import Journal
from experiments.study.training.optimizers import OPTIMIZERS
from geometry.noise import NOISE_GEOMETRIES
from schedules.search import median_estimate

CRITICAL_HEADINGS = (
    "optimizer",
    "critical batch",
    "by the bounds",
    "fewest at",
    "best form",
    "own noise scale",
    "all three",
    "missed",
)
EFFECT_HEADINGS = ("change", "critical batch, ratio [interval]", "theory")
PREDICTION_HEADINGS = (
    "noise scale",
    "critical batch / noise scale",
    "error, log2",
    "scatter, log2",
    "rank correlation",
)
CURVE_HEADINGS = ("optimizer", "batch", "LR", "steps, interval", "samples", "not reached", "diverged")


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was measured.
      curves: by variant, what was measured.
      criticals: by variant, its critical batch and what predicts it.
      predictions: by noise scale, how well it predicts.
      claims: whether they held.
      runs: how many, those of the tuning included.
      seconds: how long they took together.
    """

    config: Config
    curves: Mapping[Variant, Curve]
    criticals: Mapping[Variant, Critical]
    predictions: Mapping[str, Prediction]
    claims: tuple[Claim, ...]
    runs: int
    seconds: float

    @property
    def setting(self) -> str:
        config = self.config
        workload = workload_text(config.workload, config.workload_options)
        return f"{workload}, steps to {config.metric} ≤ {config.target:g}, constant learning rate"

    @property
    def verdict(self) -> str:
        batches = {variant: self.criticals[variant].batch.value for variant in self.usual_variants}
        ranked = sorted(batches, key=lambda variant: -np.nan_to_num(batches[variant], nan=-1.0))
        order = ", ".join(f"{variant.name} {_batch_text(batches[variant])}" for variant in ranked)
        held = sum(bool(claim.held) for claim in self.claims)
        return f"Critical batches: {order}. {held} of {len(self.claims)} claims held."

    @property
    def usual_variants(self) -> list[Variant]:
        """Each optimizer with its usual momentum and without decay."""
        return [Variant.usual(name) for name in self.config.optimizers]

    @property
    def effects(self) -> list[Effect]:
        """Those of momentum, then those of weight decay."""
        by_momentum = [
            effect
            for optimizer in self.config.momentum_optimizers
            for effect in momentum_effects(optimizer, self.criticals, self.config)
        ]
        return by_momentum + decay_effects(self.criticals, self.config)


def collect(curves: Mapping[Variant, Curve], config: Config, journal: Journal) -> Results:
    """Fit the laws, judge the claims, and add what the journal knows of the runs."""
    criticals = {variant: critical_batch(curve, config) for variant, curve in curves.items()}
    predicted = predictions(criticals)
    claims = tuple(all_claims(criticals, predicted, config))
    runs = sum(journal.counts().values())
    return Results(config, curves, criticals, predicted, claims, runs, journal.seconds())


def _batch_text(critical_batch: float) -> str:
    return "unknown" if np.isnan(critical_batch) else f"{critical_batch:.3g}"


def critical_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under CRITICAL_HEADINGS, a row a variant."""
    return [_critical_row(variant, results) for variant in results.criticals]


def _critical_row(variant: Variant, results: Results) -> tuple[str, ...]:
    found, confidence = results.criticals[variant], results.config.confidence
    steps = results.curves[variant].steps
    return (
        variant.name,
        estimate_text(found.batch.estimate(confidence)),
        ", ".join(f"{found.by_form(form.name).value:.3g}" for form in FORMS[1:]),
        estimate_text(found.fewest_samples.estimate(confidence)),
        found.best_form,
        estimate_text(noise_of(variant, found, "own").estimate(confidence)),
        ", ".join(f"{found.noise[geometry.name].value:.3g}" for geometry in NOISE_GEOMETRIES),
        f"{np.sum(np.isinf(steps))}/{steps.size}",
    )


def effect_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under EFFECT_HEADINGS."""
    return [
        (
            f"{effect.before.name} → {effect.after.name}",
            estimate_text(effect.ratio),
            "disputed" if effect.theory is None else f"{effect.theory:.3g}",
        )
        for effect in results.effects
    ]


def prediction_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under PREDICTION_HEADINGS."""
    return [
        (name, *map(estimate_text, found.estimates(results.config.confidence).values()))
        for name, found in results.predictions.items()
    ]


def curve_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under CURVE_HEADINGS, a row a variant and batch size."""
    return [
        _curve_row(variant, place, results)
        for variant in results.curves
        for place in range(len(results.config.batch_sizes))
    ]


def _curve_row(variant: Variant, place: int, results: Results) -> tuple[str, ...]:
    curve, size = results.curves[variant], results.config.batch_sizes[place]
    steps = median_estimate(curve.steps[:, place], results.config.confidence)
    reached = np.isfinite(steps.value)
    return (
        variant.name,
        str(size),
        f"{curve.learning_rates[place]:.3g}" + ("" if curve.bracketed[place] else " (edge)"),
        estimate_text(steps) if reached else "not reached",
        f"{size * steps.value:,.0f}" if reached else "–",
        str(np.sum(np.isinf(curve.steps[:, place]))),
        str(curve.diverged[place]),
    )


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    unreached = sum(int(np.sum(np.isinf(curve.steps))) for curve in results.curves.values())
    diverged = sum(int(np.sum(curve.diverged)) for curve in results.curves.values())
    confirming = sum(curve.steps.size for curve in results.curves.values())
    undetermined = [variant.name for variant, found in results.criticals.items() if not found.determined]
    edges = [
        f"{variant.name} at {size}"
        for variant, curve in results.curves.items()
        for size, bracketed in zip(config.batch_sizes, curve.bracketed, strict=True)
        if not bracketed
    ]
    lines = [
        f"Critical batch: twice the fewest steps, by the hyperbola S = S_min (1 + b*/b) fitted to"
        f" {config.confirm_replicates} fresh seeds at batch sizes {config.batch_sizes[0]} to"
        f" {config.batch_sizes[-1]}; {config.confidence:.0%} intervals over seeds, all batch sizes of a seed"
        f" together. By the bounds: that of the forms {' and '.join(form.name for form in FORMS[1:])}."
        " Fewest: where the median run took the fewest samples.",
        f"Learning rates tuned for every optimizer at every batch size with {config.budget.runs} runs each;"
        " intervals do not cover what another tuning would have chosen.",
        f"Noise scales: of {config.noise_batch} fresh examples in {config.noise_parts} parts, the mean along"
        f" a run up to the target, medians over seeds and batch sizes. Own: {_own_geometries(config)}."
        f" All three: {', '.join(geometry.name for geometry in NOISE_GEOMETRIES)}.",
        f"Missed: of {confirming:,} confirming runs {unreached} never reached the target, {diverged} of them"
        " diverged; they count as needing more than their horizon.",
        f"{results.runs:,} runs in {results.seconds:.0f} s.",
    ]
    if edges:
        lines.append(
            "Best learning rate not bracketed (on the edge of what was tried, or no rate got there):"
            f" {', '.join(edges)}."
        )
    if undetermined:
        lines.append(
            f"Critical batch not determined, and left out of what predicts it: {', '.join(undetermined)}."
        )
    return lines


def _own_geometries(config: Config) -> str:
    return ", ".join(f"{OPTIMIZERS[name].geometry.name} of {name}" for name in config.optimizers)
