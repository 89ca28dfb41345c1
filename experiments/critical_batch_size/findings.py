"""What is told of critical batches.

That Muon's is the largest and that more momentum lowers it is claimed in arXiv:2507.01598; that the noise
scale of an optimizer's own geometry tells it, in arXiv:2602.03001. What weight decay does is disputed: its
effects are shown, and nothing is claimed.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from experiments.critical_batch_size import figures
from experiments.critical_batch_size.config import Config, Variant
from experiments.critical_batch_size.critical import (
    FORMS,
    OWN,
    Critical,
    Effect,
    Point,
    Prediction,
    batch_ratio,
    noise_of,
    row_estimate,
)
from experiments.critical_batch_size.runs import Results
from experiments.study.showing.cells import NONE, as_text
from experiments.study.showing.claims import Claim, above, below, tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import naming_notes, rate_column
from experiments.study.showing.table import REPORT, Column, Table, column
from experiments.study.statistics.resampled import Resampled
from experiments.study.training.optimizers import OPTIMIZERS
from geometry import EUCLIDEAN, BatchForm
from geometry.noise import NOISE_GEOMETRIES
from schedules.search import Estimate, median_estimate

CURVES = (figures.steps, figures.samples)
LARGEST, RIVALS = "muon", ("adamw", "momentum", "signum")


def present(results: Results) -> Findings:
    """The critical batches, what predicts and what changes them, and every point that was measured."""
    config = results.config
    claims = [
        *optimizer_claims(results.criticals, config),
        *momentum_claims(results.effects),
        *prediction_claims(results.predictions, config),
    ]
    curves, predicted = drawn(results, *CURVES), drawn(results, figures.critical_batches)
    effects = drawn(results, figures.effects) if results.effects else []
    return Findings(
        f"{config.workload_text}, steps to {config.metric} ≤ {config.target:g}, constant learning rate",
        f"Critical batches: {ranking_text(results)}. {tally(claims)}",
        [
            Part("", [critical_table(results), *notes(results), *curves]),
            Part("What changes it", [*effects, effect_table(results)]),
            Part("What predicts it", [*predicted, prediction_table(results)]),
            Part("Every measured point", [point_table(results)]),
        ],
        claims,
        facts(config, "workload", "metric", "target", "confidence"),
    )


def optimizer_claims(criticals: Mapping[Variant, Critical], config: Config) -> list[Claim]:
    """That Muon's critical batch is larger than that of the others."""
    rivals = [name for name in RIVALS if {name, LARGEST} <= set(config.optimizers)]
    largest = Variant.usual(LARGEST)
    ratios = {rival: batch_ratio(criticals, largest, Variant.usual(rival), config) for rival in rivals}
    statement = f"critical batch of {LARGEST} over the other's"
    return [Claim(statement, rival, ratio, above(1)) for rival, ratio in ratios.items()]


def momentum_claims(effects: Sequence[Effect]) -> list[Claim]:
    """That the critical batch is lower at the largest momentum than at the smallest."""
    widest = {e.after.optimizer: e for e in effects if e.before.momentum != e.after.momentum}
    statement = "critical batch at most momentum over least"
    return [
        Claim(statement, f"{name}, β {e.before.momentum:g} to {e.after.momentum:g}", e.ratio, below(1))
        for name, e in widest.items()
    ]


def prediction_claims(predicted: Mapping[str, Prediction], config: Config) -> list[Claim]:
    """That an optimizer's own geometry tells its critical batch better than the Euclidean one does."""
    own, euclidean = predicted[OWN], predicted[EUCLIDEAN.name]
    quantities = {
        "error": ("log2 error of the predicted critical batch", below(0)),
        "scatter": ("log2 scatter around one factor for all", below(0)),
        "rank_correlation": ("rank correlation with the critical batch", above(0)),
    }

    def lead(quantity: str) -> Estimate:
        return row_estimate(getattr(own, quantity) - getattr(euclidean, quantity), config.level)

    return [
        Claim(f"{words}, own noise scale less Euclidean", "all variants", lead(quantity), bound)
        for quantity, (words, bound) in quantities.items()
    ]


def critical_table(results: Results) -> Table[Variant]:
    """A row a variant, the largest critical batch first."""
    confidence = results.config.confidence

    def estimate(resampled: Resampled) -> Estimate:
        return resampled.estimate(confidence)

    def law(variant: Variant, form: BatchForm) -> dict[str, object]:
        critical = results.criticals[variant]
        fit = critical.fits[form.name].fit
        return {
            "min_steps": float(fit.law.min_steps),
            "scale": float(fit.law.scale),
            "critical_batch": estimate(critical.by_form(form.name)),
            "residual": float(fit.residual),
        }

    def bounds(laws: Mapping[str, Mapping[str, Estimate]]) -> str:
        return ", ".join(as_text(laws[form.name]["critical_batch"].value) for form in FORMS[1:])

    def noise(variant: Variant) -> dict[str, Estimate]:
        scales = results.criticals[variant].noise
        return {geometry.name: estimate(scales[geometry.name]) for geometry in NOISE_GEOMETRIES}

    def own(variant: Variant) -> str:
        return as_text(estimate(noise_of(variant, results.criticals[variant], OWN)))

    def missed(variant: Variant) -> str:
        curve = results.curves[variant]
        return f"{sum(point.missed for point in curve)}/{sum(len(point.steps) for point in curve)}"

    columns = (
        column("optimizer", shown=lambda v: v.name, optimizer=lambda v: v.optimizer),
        column(momentum=lambda v: v.momentum),
        column(weight_decay=lambda v: v.weight_decay),
        column("critical batch", critical_batch=lambda v: estimate(results.criticals[v].batch)),
        column("by the bounds", bounds, laws=lambda v: {form.name: law(v, form) for form in FORMS}),
        column("fewest at", fewest_samples_at=lambda v: estimate(results.criticals[v].fewest_samples)),
        column("best form", best_form=lambda v: results.criticals[v].best_form),
        column("own noise scale", shown=own, own_geometry=lambda v: v.geometry.name),
        column("all three", lambda noise: ", ".join(f"{s.value:.3g}" for s in noise.values()), noise=noise),
        column("missed", shown=missed),
        column(batches=lambda v: Table("", point_columns(confidence), results.curves[v])),
    )
    return Table("winners", columns, ranked(results.criticals, results))


def point_columns(confidence: float) -> tuple[Column[Point], ...]:
    """A row a batch size of one variant."""

    def steps(point: Point) -> Estimate:
        return median_estimate(point.steps, confidence)

    def samples(point: Point) -> str:
        median = steps(point).value
        return f"{point.batch_size * median:,.0f}" if np.isfinite(median) else NONE

    return (
        column("batch", batch_size=lambda point: point.batch_size),
        rate_column(lambda point: point.tuned),
        column(
            "steps, interval",
            lambda steps: as_text(steps) if np.isfinite(steps.value) else "not reached",
            steps=steps,
        ),
        column("samples", shown=samples),
        column(replicates=lambda point: len(point.steps)),
        column("not reached", not_reached=lambda point: point.missed),
        column("diverged", diverged=lambda point: point.diverged),
    )


def point_table(results: Results) -> Table[Point]:
    """A row a variant and batch size."""
    columns = column("optimizer", shown=lambda p: p.variant.name), *point_columns(results.config.confidence)
    return Table("", columns, results.points, places=REPORT)


def effect_table(results: Results) -> Table[Effect]:
    """A row a change of an option."""
    return Table(
        "effects",
        (
            column(
                "change",
                "{before} → {after}".format,
                before=lambda effect: effect.before.name,
                after=lambda effect: effect.after.name,
            ),
            column("critical batch, ratio [interval]", ratio=lambda effect: effect.ratio),
            column(
                "theory",
                lambda theory: "disputed" if theory is None else f"{theory:.3g}",
                theory=lambda effect: effect.theory,
            ),
        ),
        results.effects,
    )


def prediction_table(results: Results) -> Table[str]:
    """A row a noise scale."""
    headings = {
        "ratio": "critical batch / noise scale",
        "error": "error, log2",
        "scatter": "scatter, log2",
        "rank_correlation": "rank correlation",
    }

    def quality(quantity: str, name: str) -> Estimate:
        return results.predictions[name].estimate(quantity, results.config.level)

    columns = [column(heading, **{name: partial(quality, name)}) for name, heading in headings.items()]
    named = column("noise scale", name=lambda name: name)
    return Table("predictions", (named, *columns), list(results.predictions), by_name=True)


def ranked(variants: Iterable[Variant], results: Results) -> list[Variant]:
    """The largest critical batch first, those without one last."""
    return sorted(variants, key=lambda v: -np.nan_to_num(results.criticals[v].batch.value, nan=-1.0))


def ranking_text(results: Results) -> str:
    """The optimizers with their usual momentum and without decay, by critical batch."""
    usual = ranked([Variant.usual(name) for name in results.config.optimizers], results)
    batches = {variant.name: results.criticals[variant].batch.value for variant in usual}
    texts = {name: "unknown" if np.isnan(batch) else f"{batch:.3g}" for name, batch in batches.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, points = results.config, results.points
    missed, diverged = sum(point.missed for point in points), sum(point.diverged for point in points)
    confirming = sum(len(point.steps) for point in points)
    left_open = {
        "Best learning rate not bracketed (on the edge of what was tried, or no rate got there)": [
            f"{p.variant.name} at {p.batch_size}" for p in points if not p.tuned.bracketed
        ],
        "Critical batch not determined, and left out of what predicts it": [
            variant.name for variant, critical in results.criticals.items() if not critical.determined
        ],
    }
    own = ", ".join(f"{OPTIMIZERS[name].geometry.name} of {name}" for name in config.optimizers)
    return [
        f"Critical batch: twice the fewest steps, by the hyperbola S = S_min (1 + b*/b) fitted to"
        f" {config.confirm_replicates} fresh seeds at batch sizes {config.batch_sizes[0]} to"
        f" {config.batch_sizes[-1]}; {config.confidence:.0%} intervals over seeds, all batch sizes of a seed"
        f" together. By the bounds: that of the forms {' and '.join(form.name for form in FORMS[1:])}."
        " Fewest: where the median run took the fewest samples.",
        f"Learning rates tuned for every optimizer at every batch size with {config.tuning_runs} runs"
        " each; intervals do not cover what another tuning would have chosen.",
        f"Noise scales: of {config.noise_batch} fresh examples in {config.noise_parts} parts, the mean along"
        f" a run up to the target, medians over seeds and batch sizes. Own: {own}."
        f" All three: {', '.join(geometry.name for geometry in NOISE_GEOMETRIES)}.",
        f"Missed: of {confirming:,} confirming runs {missed} never reached the target, {diverged} of them"
        " diverged; they count as needing more than their horizon.",
        f"{results.tally.runs:,} runs in {results.tally.seconds:.0f} s.",
        *naming_notes(left_open),
    ]
