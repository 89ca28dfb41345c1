"""What is told of a comparison."""

import math

from experiments.optimizer_comparison import figures
from experiments.optimizer_comparison.claims import REFERENCE, SCHEDULE_FREE, claims
from experiments.optimizer_comparison.runs import Pace, Results
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import (
    marks_note,
    not_bracketed,
    standing_columns,
    tuned_columns,
)
from experiments.study.showing.table import Table, column
from schedules.search import Standing, verdict


def present(results: Results) -> Findings:
    """The ranking with its figures."""
    config = results.config
    images = drawn(results, figures.scores, figures.paces, figures.tuning)
    return Findings(
        f"{config.workload_text}, batch {config.batch_size}, {config.num_steps} steps, {config.schedule}"
        " schedule",
        verdict(results.standings, REFERENCE, "optimizer"),
        [Part("", [ranking(results), *notes(results), *images])],
        claims(results.standings),
        facts(config, "workload", "metric", "confidence", scale=results.standings[0].scale.value),
    )


def ranking(results: Results) -> Table[Standing]:
    """A row an optimizer, best first."""
    metric = results.config.metric

    def pace(standing: Standing) -> Pace:
        return results.paces[standing.name]

    def needed(steps_needed: float, time_needed: float) -> str:
        return f"{steps_needed:.0%}, {time_needed:.0%}" if math.isfinite(steps_needed) else "–"

    columns = (
        *standing_columns(
            "optimizer",
            f"{metric} [interval]",
            results.config.references,
            results.standings,
            results.medians,
            metric,
            inserted=tuned_columns(),
        ),
        column(
            "ms a step",
            lambda step_seconds, relative_step: f"{1e3 * step_seconds:.2f} ({relative_step:.2f}×)",
            timed=True,
            step_seconds=lambda standing: pace(standing).step_seconds,
            relative_step=lambda standing: pace(standing).relative_step,
        ),
        column(
            "steps, time",
            needed,
            steps_needed=lambda standing: pace(standing).steps,
            time_needed=lambda standing: pace(standing).seconds,
            timed=True,
        ),
    )
    return Table("winners", columns, results.standings)


def notes(results: Results) -> list[str]:
    """What the table needs said."""
    config = results.config
    return [
        marks_note(config.confirm_replicates, config.confidence),
        f"Every optimizer was tuned with the same {config.tuning_runs} runs:"
        f" {config.first_rates + config.more_rates} learning rates, {len(config.decays)} decays,"
        f" {config.screen_replicates} seeds.",
        f"Steps and time needed: where the median run first reaches {REFERENCE}'s final"
        f" {config.metric}, as a share of what {REFERENCE} takes.",
        *(
            [f"{SCHEDULE_FREE} has the warm-up alone: an average is in place of a decay."]
            if SCHEDULE_FREE in config.compared
            else []
        ),
        f"{results.tally}",
        *not_bracketed(results.standings),
    ]
