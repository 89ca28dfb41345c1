"""What is told of a study of path geometry."""

import numpy as np
from jaxtyping import Float

from experiments.path_geometry import figures
from experiments.path_geometry.config import BASELINE, PRESCRIBED, UNTUNED
from experiments.path_geometry.paths import Group, late_to_early, relative_spread
from experiments.path_geometry.runs import Results
from experiments.study.showing.cells import base_lr_text, shape_text
from experiments.study.showing.claims import tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import marks_note, standing_columns
from experiments.study.showing.table import REPORT, Table, column
from experiments.study.statistics.curves import typical
from schedules.search import Standing, median_estimate, verdict


def present(results: Results) -> Findings:
    """The claims, the prescribed schedule among searched ones, and every measured path."""
    config = results.config
    paths = drawn(results, figures.along_training, figures.against_batch)
    schedules = drawn(results, figures.schedules, figures.scores)
    return Findings(
        f"{config.workload_text}, {config.num_steps} steps, {config.schedule} schedule; the schedules below:"
        f" sgd, batch {config.middle_batch}",
        f"{tally(results.claims)} Of the schedules, {verdict(results.standings, BASELINE, 'schedule')}",
        [
            Part("", [*paths, ranking(results), *notes(results), *schedules]),
            Part("Every measured path", [path_table(results)]),
        ],
        results.claims,
        facts(config, "workload", "metric", "confidence", scale=results.standings[0].scale.value),
    )


def ranking(results: Results) -> Table[Standing]:
    """A row a schedule, best first."""
    config = results.config

    def base_lr(standing: Standing) -> str:
        searched = None if standing.name == UNTUNED else config.learning_rate_range
        return base_lr_text(standing.winner.base_lr, searched)

    def multipliers(standing: Standing) -> np.ndarray:
        candidate = standing.winner.candidate
        return np.asarray(candidate.family.multipliers(candidate.params, config.num_steps))

    columns = standing_columns(
        "schedule",
        f"{config.metric}, interval",
        (BASELINE,),
        results.standings,
        results.medians,
        config.metric,
        inserted=(
            column("best shape", shape_text, params=lambda s: s.winner.candidate.params, wrapped=True),
            column("base LR", shown=base_lr, base_lr=lambda standing: standing.winner.base_lr),
            column(multipliers=multipliers),
        ),
    )
    return Table("winners", columns, results.standings)


def path_table(results: Results) -> Table[Group]:
    """A row a group of runs."""
    paths = results.paths

    def median(values: Float[np.ndarray, "replicates"], form: str) -> str:
        return format(np.median(values), form)

    columns = (
        column("optimizer", shown=lambda group: group.optimizer),
        column("batch", shown=lambda group: str(group.batch_size)),
        column("labels", shown=lambda group: group.labels),
        column(
            "γ of the gradient, interval",
            gradient=lambda group: median_estimate(typical(paths.cosines(group)), results.config.confidence),
        ),
        column("γ of the update", shown=lambda g: median(typical(paths.cosines(g, "update")), ".3g")),
        column("γ √d of random directions, RMS", shown=lambda g: f"{paths.random_deviation([g]):.3f}"),
        column("last third / first", shown=lambda g: median(late_to_early(paths.cosines(g)), ".2f")),
        column("spread within a run", shown=lambda g: median(relative_spread(paths.cosines(g)), ".0%")),
    )
    return Table("", columns, list(paths.series), places=REPORT)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, paths = results.config, results.paths
    return [
        marks_note(config.confirm_replicates, config.confidence),
        f"Equal budget: every schedule but '{UNTUNED}' was tuned with the same {config.tuning_runs} runs;"
        f" '{PRESCRIBED}' has one shape and spent them on its learning rate. The {config.replicates} runs it"
        " was derived from come on top, and share no seed with those that choose or score.",
        f"γ is that of the batch's gradient unless it is the update's: medians of {config.replicates} seeds"
        f" at batch {config.middle_batch} with true labels, unless stated. A path's own end is its reference:"
        " even a walk of independent steps has γ > 0, and one with momentum more of it.",
        "Random directions, the control: γ √d has RMS"
        f" {paths.random_deviation(paths.series):.3f} (1 expected).",
        f"Replays that ended elsewhere than the first pass: {paths.inexact}."
        f" Measured runs left out for divergence: {paths.diverged}.",
        f"{results.tally}",
    ]
