"""What is told of a study of layer geometry."""

import math
from collections.abc import Callable

import numpy as np

from experiments.layer_geometry import figures
from experiments.layer_geometry.config import SPECTRAL_ONLY
from experiments.layer_geometry.measurement import LARGEST_INDEX
from experiments.layer_geometry.runs import Results
from experiments.study.showing.cells import NONE, as_text
from experiments.study.showing.claims import tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import marks_note, standing_columns, tuned_columns
from experiments.study.showing.table import Column, Table, column
from experiments.study.statistics.curves import typical
from schedules.search import Estimate, Standing, median_estimate, verdict

CHOICE = "Sign and spectral descent, and the index between them"


def present(results: Results) -> Findings:
    """The layers, the ways to choose their geometry, and noise and path along training."""
    config = results.config
    contest = verdict(results.standings, SPECTRAL_ONLY, "way to choose")
    suits = *drawn(results, figures.suited), layer_table(results)
    choice = ranking(results), *drawn(results, figures.scores, figures.choices)
    return Findings(
        f"{config.workload_text}, batch {config.batch_size} in {config.parts} parts,"
        f" {config.num_steps} steps, {config.schedule} schedule",
        f"{tally(results.claims)} Of the ways to choose a geometry, {contest}",
        [
            Part("", [*suits, *choice, *notes(results)]),
            Part("Noise and path", drawn(results, figures.noise, figures.path)),
        ],
        results.claims,
        facts(config, "workload", "metric", "confidence", scale=results.standings[0].scale.value),
    )


def layer_table(results: Results) -> Table[int]:
    """A row a layer, by its place; in winners.json the median of every quantity over runs and steps."""
    layers, values = results.series.layers, results.series.values
    medians = {name: np.median(measured, axis=(0, 2)) for name, measured in values.items()}

    def value(name: str) -> Callable[[int], float]:
        return lambda place: float(medians[name][place])

    def judged(heading: str, name: str) -> tuple[Column[int], Column[int]]:
        indices = [
            median_estimate(typical(values[name][:, place]), results.config.confidence)
            for place in range(len(layers))
        ]
        return (
            column(heading, shown=lambda place: as_text(indices[place]), **{name: value(name)}),
            column("it says", shown=lambda place: suited(indices[place])),
        )

    def matrix(place: int) -> str:
        _, rows, columns = layers[place].view.matrix_shapes(layers[place].shape)[0]
        return f"{rows}×{columns}"

    def rank_ratio(rank_ratio: float) -> str:
        return NONE if math.isnan(rank_ratio) else f"{rank_ratio:.3g}"

    columns = (
        column("layer", layer=lambda place: layers[place].name),
        column("matrix", shown=matrix),
        column("B ℓ2", noise_euclidean=value("noise_euclidean")),
        column("B sign", noise_sign=value("noise_sign")),
        column("B spec", noise_spectral=value("noise_spectral")),
        *judged("noise index", "index"),
        *judged("curvature index", "curvature_index"),
        column("nr/st", rank_ratio, rank_ratio=value("rank_ratio")),
        column("γ", "{cosine:.3f}".format, cosine=value("cosine")),
        *(
            column(**{name: value(name)})
            for name in ("nuclear_rank", "stable_rank", "rsi", "eb", "norm", "norm_over_bound")
        ),
    )
    return Table("layers", columns, range(len(layers)), by_name=True)


def suited(index: Estimate) -> str:
    """The geometry that an index finds for a layer."""
    return "spectral" if index.low > 0 else "sign" if index.high < 0 else "undecided"


def ranking(results: Results) -> Table[Standing]:
    """A row a way to choose, best first."""
    metric = results.config.metric
    columns = standing_columns(
        "geometry",
        f"{metric}, interval",
        (SPECTRAL_ONLY,),
        results.standings,
        results.medians,
        metric,
        inserted=tuned_columns(),
    )
    return Table("winners", columns, results.standings, title=CHOICE)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    return [
        marks_note(config.confirm_replicates, config.confidence),
        f"Equal budget: each way to choose was tuned with the same {config.tuning_runs} runs, and all measure"
        " the index's gradient parts whether they use them or not.",
        f"Layers: medians over {config.replicates} muon runs and {len(config.probed_steps)} steps of each, at"
        f" learning rate {config.learning_rate:g}. Both indices are log ratios, positive for spectral; the"
        f" noise index takes τ = {config.tau:g} deviations off each signal and assumes equal curvature in all"
        f" directions, and counts as ±{LARGEST_INDEX:g} where one geometry is sure of nothing; the curvature"
        " index, nuclear and stable rank need no such guess and are taken from"
        f" {config.curvature_batches} batches (the stable rank from one).",
        "γ and the noise scales B (in examples) are of the batch's gradient; γ is towards the end of the same"
        " run, which was trained twice.",
        f"Measured runs left out for divergence: {results.series.diverged}. {results.tally}",
    ]
