"""What a study of layer geometry found: its tables, and winners.json."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from experiments.layer_geometry.config import SPECTRAL_ONLY, Config
from experiments.layer_geometry.findings import choice_claims, layer_claims, typical
from experiments.layer_geometry.layers import Layer
from experiments.layer_geometry.measurement import SURE
from experiments.layer_geometry.series import Series
from experiments.study.options.pairs import workload_text
from experiments.study.showing.old_claims import CLAIM_HEADINGS, Claim, claim_rows, claims_json, summary
from experiments.study.showing.tables import (
    change_text,
    estimate_json,
    estimate_text,
    finite_or_none,
    marked_name,
    median_metrics,
    other_test_metrics,
    show_table,
)
from experiments.study.storage.folder import StudyFolder
from experiments.study.storage.journal import Journal
from experiments.study.training.tuning import CONFIRM, Tuned
from schedules.search import Estimate, Standing, median_estimate, standings, verdict

LAYER_HEADINGS = (
    "layer",
    "matrix",
    "B ℓ2",
    "B sign",
    "B spec",
    "noise index",
    "it says",
    "curvature index",
    "it says",
    "nr/st",
    "γ",
)


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was measured.
      series: of every layer along training.
      claims: about layers, then about the choice of geometry.
      standings: the ways to choose, best first.
      beside: by way, the medians of all metrics over the confirming runs.
      counts: runs by status, "finished" and "diverged".
      seconds: how long the runs took together.
    """

    config: Config
    series: Series
    claims: tuple[Claim, ...]
    standings: tuple[Standing, ...]
    beside: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    seconds: float

    @property
    def setting(self) -> str:
        config = self.config
        workload = workload_text(config.workload, config.workload_options)
        return (
            f"{workload}, batch {config.batch_size} in {config.parts} parts,"
            f" {config.num_steps} steps, {config.schedule} schedule"
        )

    @property
    def verdict(self) -> str:
        held = sum(claim.held for claim in self.claims)
        contest = verdict(self.standings, SPECTRAL_ONLY, "way to choose")
        return f"{held} of {len(self.claims)} claims held. Of the ways to choose a geometry, {contest}"


def collect(series: Series, tuned: Mapping[str, Tuned], config: Config, journal: Journal) -> Results:
    """Judge the claims and rank the ways to choose."""
    ranked = standings(tuned, (SPECTRAL_ONLY,), config.confidence)
    claims = (*layer_claims(series, config), *choice_claims(ranked, config))
    beside = median_metrics(journal, CONFIRM)
    return Results(config, series, claims, ranked, beside, journal.counts(), journal.seconds())


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print all tables, the verdict, and where everything is."""
    show_table(console, results.setting, LAYER_HEADINGS, layer_rows(results), (), ())
    claims = claim_rows(results.claims), summary(results.claims)
    show_table(console, "What the papers claim", CLAIM_HEADINGS, *claims, ())
    show_table(
        console,
        "Sign and spectral descent, and the index between them",
        choice_headings(results),
        choice_rows(results),
        (results.verdict, *notes(results)),
        (folder.report, folder.winners),
    )


def layer_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `LAYER_HEADINGS`."""
    return [_layer_row(place, layer, results) for place, layer in enumerate(results.series.layers)]


def _layer_row(place: int, layer: Layer, results: Results) -> tuple[str, ...]:
    values = {name: of[:, place] for name, of in results.series.values.items()}
    medians = {name: float(np.median(of)) for name, of in values.items()}
    indices = [
        median_estimate(typical(values[name]), results.config.confidence)
        for name in ("index", "curvature_index")
    ]
    _, rows, columns = layer.view.matrix_shapes(layer.shape)[0]
    return (
        layer.name,
        f"{rows}×{columns}",
        *(f"{medians[f'noise_{name}']:.3g}" for name in ("euclidean", "sign", "spectral")),
        *(text for index in indices for text in (estimate_text(index), _suited(index))),
        "–" if np.isnan(medians["rank_ratio"]) else f"{medians['rank_ratio']:.3g}",
        f"{medians['cosine']:.3f}",
    )


def _suited(index: Estimate) -> str:
    return "spectral" if index.low > 0 else "sign" if index.high < 0 else "undecided"


def choice_headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of ways to choose."""
    metric = results.config.metric
    return (
        "geometry",
        "LR",
        "decay",
        f"{metric}, interval",
        f"vs {SPECTRAL_ONLY}, {results.standings[0].scale.unit}",
        *_others(results),
    )


def choice_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `choice_headings`, best first."""
    return [_choice_row(standing, results) for standing in results.standings]


def _choice_row(standing: Standing, results: Results) -> tuple[str, ...]:
    tuned: Tuned = standing.winner
    return (
        marked_name(standing),
        f"{tuned.setting.learning_rate:.3g}" + ("" if tuned.bracketed else " (edge)"),
        f"{tuned.setting.decay:g}",
        estimate_text(standing.score),
        change_text(standing.against.get(SPECTRAL_ONLY), standing.scale),
        *(f"{results.beside[standing.name][name]:.3g}" for name in _others(results)),
    )


def _others(results: Results) -> list[str]:
    return other_test_metrics(results.beside[SPECTRAL_ONLY], results.config.metric)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, counts = results.config, results.counts
    return [
        f"* best; = not distinguishable from it. Medians of {config.confirm_replicates} fresh seeds with"
        f" {config.confidence:.0%} intervals; changes are paired by seed.",
        f"Equal budget: each way to choose was tuned with the same {config.budget.runs} runs, and all measure"
        " the index's gradient parts whether they use them or not.",
        f"Layers: medians over {config.replicates} muon runs and {len(config.probed_steps)} steps of each, at"
        f" learning rate {config.learning_rate:g}. Both indices are log ratios, positive for spectral; the"
        f" noise index takes τ = {config.tau:g} deviations off each signal and assumes equal curvature in all"
        f" directions, and counts as ±{SURE:g} where one geometry is sure of nothing; the curvature index,"
        f" nuclear and stable rank need no such guess and are taken from {config.curvature_batches} batches"
        " (the stable rank from one).",
        "γ and the noise scales B (in examples) are of the batch's gradient; γ is towards the end of the same"
        " run, which was trained twice.",
        f"Measured runs left out for divergence: {results.series.diverged}."
        f" {sum(counts.values()):,} runs, of which {counts.get('diverged', 0):,} diverged, in"
        f" {results.seconds:.0f} s of training and measuring.",
    ]


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json: claims, layers, and the ways to choose, best first."""
    config = results.config
    return {
        "workload": config.workload,
        "metric": config.metric,
        "confidence": config.confidence,
        "scale": results.standings[0].scale.value,
        "verdict": results.verdict,
        "claims": claims_json(results.claims),
        "layers": _layers_json(results),
        "winners": [_winner_json(standing, results) for standing in results.standings],
    }


def _layers_json(results: Results) -> dict[str, dict[str, float | None]]:
    """By layer, the median of every quantity over runs and steps."""
    return {
        layer.name: {
            name: finite_or_none(float(np.median(of[:, place]))) for name, of in results.series.values.items()
        }
        for place, layer in enumerate(results.series.layers)
    }


def _winner_json(standing: Standing, results: Results) -> dict[str, Any]:
    tuned: Tuned = standing.winner
    metrics = results.beside[standing.name]
    return {
        "geometry": standing.name,
        "learning_rate": tuned.setting.learning_rate,
        "learning_rate_bracketed": tuned.bracketed,
        "decay": tuned.setting.decay,
        "score": estimate_json(standing.score),
        "replicates": len(tuned.scores),
        "diverged": standing.diverged,
        "change_against": {name: estimate_json(change) for name, change in standing.against.items()},
        "ties_with_best": standing.ties_with_best,
        "metrics": {name: finite_or_none(value) for name, value in metrics.items() if ":" not in name},
    }
