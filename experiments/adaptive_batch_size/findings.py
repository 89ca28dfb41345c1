"""What is told of adaptive batch sizes: losses, costs, and the claims of arXiv:2602.03001."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from experiments.adaptive_batch_size import figures
from experiments.adaptive_batch_size.config import (
    ADAPTIVE,
    EUCLIDEAN_DRIVEN,
    LARGE,
    MATCHED,
    SMALL,
    STRATEGIES,
    Config,
)
from experiments.adaptive_batch_size.outcome import COMPARED, PUBLISHED, REACHING, Outcome, saving
from experiments.adaptive_batch_size.runs import Results
from experiments.study.showing.cells import NONE, change_text
from experiments.study.showing.claims import Claim, above, below, summary, tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import naming_notes, rate_column
from experiments.study.showing.table import REPORT, Column, Table, column
from schedules.search import Estimate, Scale, paired_change

NO_WORSE = 0.1  # the relative change of the loss that still counts as none
DRAWN = (figures.savings, figures.levels, figures.losses, figures.trajectories, figures.tuning)


def present(results: Results) -> Findings:
    """Every optimizer and batch with its loss and its costs, and what the paper reports."""
    config = results.config
    claims = [
        claim
        for optimizer, outcomes in results.outcomes.items()
        for claim in claims_about(optimizer, outcomes, results.scale, config)
    ]
    saved = ", ".join(f"{_saved_range(results, strategy)} by the {strategy} one" for strategy in ADAPTIVE)
    content = [loss_table(results), cost_table(results), *notes(results), *drawn(results, *DRAWN)]
    return Findings(
        f"{config.workload_text}, {config.samples:,} examples a run, batches of {config.small_batch} to"
        f" {config.large_batch}, {config.schedule} schedule",
        f"Updates of the constant {SMALL} batch that a growing one saves at equal {config.metric}: {saved}."
        f" {tally(claims)}",
        [Part("", content), Part("Beside the paper", [published_note(config), published_table(results)])],
        claims,
        facts(config, "workload", "metric", "confidence", summary=summary(claims)),
    )


def claims_about(
    optimizer: str, outcomes: Mapping[str, Outcome], scale: Scale, config: Config
) -> list[Claim]:
    """What is claimed of an optimizer, given what became of it by strategy."""
    metric, matched = config.metric, outcomes[MATCHED]
    euclidean_costs = outcomes[EUCLIDEAN_DRIVEN].costs
    saved_there = saving(matched.costs.updates, euclidean_costs.updates, config.confidence)

    def final_change(reference: str, strategy: str) -> tuple[str, str, Estimate]:
        scores = outcomes[strategy].runs.tuned.scores, outcomes[reference].runs.tuned.scores
        change = paired_change(*scores, config.confidence, scale)
        return f"{scale.noun} of final {metric} from {reference} to {strategy}", optimizer, change

    return [
        Claim(
            f"share of {SMALL}'s updates saved at equal {metric} by {MATCHED}",
            optimizer,
            matched.saved.updates,
            above(0),
        ),
        Claim(
            f"share of {EUCLIDEAN_DRIVEN}'s updates saved there by {MATCHED}",
            optimizer,
            saved_there,
            above(0),
        ),
        Claim(*final_change(SMALL, MATCHED), below(no_worse(scale))),
        Claim(*final_change(EUCLIDEAN_DRIVEN, MATCHED), below(0)),
        *(Claim(*final_change(strategy, LARGE), above(0)) for strategy in ADAPTIVE),
    ]


def no_worse(scale: Scale) -> float:
    """The change of the loss that still counts as none; no difference does."""
    return NO_WORSE if scale is Scale.RELATIVE else 0.0


def loss_table(results: Results) -> Table[Outcome]:
    """A row a contestant; winners.json has its costs here too."""
    metric = results.config.metric
    recorded = next(iter(results.medians.values()))
    others = [name for name in recorded if name.startswith(("train_", "test_")) and name != metric]

    def medians(outcome: Outcome) -> Mapping[str, float]:
        return results.medians[str(outcome.runs.contestant)]

    def other(name: str) -> Column[Outcome]:
        return column(name, shown=lambda row: f"{medians(row)[name]:.3g}")

    columns = (
        column(
            "optimizer, batch",
            "{optimizer}, {strategy}".format,
            optimizer=lambda row: row.runs.contestant.optimizer,
            strategy=lambda row: row.runs.contestant.strategy,
        ),
        rate_column(lambda row: row.runs.tuned),
        column(decay=lambda row: row.runs.tuned.setting.decay),
        column(f"{metric} [interval]", score=lambda row: row.score),
        column(
            f"vs {SMALL}, {results.scale.unit}",
            shown=beside_small(lambda row: change_text(row.change, results.scale)),
            change=lambda row: row.change,
        ),
        *map(other, others),
        column(metrics=medians),
        column(level=lambda row: row.level),
        column(not_reached=lambda row: row.not_reached),
    )
    costs = (replace(cost, heading="") for cost in cost_columns())
    return Table("outcomes", (*columns, *costs), results.all_outcomes)


def cost_table(results: Results) -> Table[Outcome]:
    """A row a contestant."""
    named = column("optimizer, batch", shown=lambda row: str(row.runs.contestant))
    return Table("", (named, *cost_columns()), results.all_outcomes, title=f"Costs, beside {SMALL}")


def cost_columns() -> tuple[Column[Outcome], ...]:
    """Updates and seconds of a run, and what it saves of those of the constant small batch."""
    return (
        column(
            "last batch",
            lambda last_batch, growth: f"{last_batch:.0f} ({growth:.1f}×)",
            last_batch=lambda row: row.runs.last_batch,
            growth=lambda row: row.runs.growth,
        ),
        column("updates", "{updates:.0f}".format, updates=lambda row: row.runs.updates),
        column(
            "fewer, %",
            shown=beside_small(lambda row: f"{100 * row.saved.updates_in_all.value:.0f}"),
            saved_in_all=lambda row: row.saved.updates_in_all,
        ),
        column(
            "fewer at equal loss, %",
            shown=beside_small(lambda row: saving_text(row.saved.updates)),
            saved=lambda row: row.saved.updates,
        ),
        column(
            "ms a run",
            lambda run_seconds: f"{1e3 * run_seconds:.1f}",
            run_seconds=lambda row: row.runs.pace.run,
            timed=True,
        ),
        column(
            "less time there, %",
            shown=beside_small(lambda row: saving_text(row.saved.seconds)),
            saved_time=lambda row: row.saved.seconds,
            timed=True,
        ),
        column(
            "measuring adds, %",
            lambda measuring: change_text(measuring, Scale.RELATIVE),
            measuring=lambda row: row.runs.pace.overhead,
            timed=True,
        ),
    )


def beside_small(cell: Callable[[Outcome], str]) -> Callable[[Outcome], str]:
    """The cell, but for a dash where the outcome is that of the small batch itself."""
    return lambda row: NONE if row.runs.contestant.strategy == SMALL else cell(row)


def saving_text(saved: Estimate) -> str:
    """A fraction saved in per cent, with its interval."""
    return "not reached" if math.isinf(saved.value) else change_text(saved, Scale.RELATIVE, sign="")


def published_table(results: Results) -> Table[tuple[str, Mapping[str, Outcome]]]:
    """A row an optimizer: what is published, and what was found here."""

    def measured(heading: str, number: Callable[[Mapping[str, Outcome]], float], form: str) -> Column:
        return column(heading, shown=lambda row: format(number(row[1]), form))

    columns = (
        column("optimizer", shown=lambda row: row[0]),
        *(
            column(heading, shown=lambda row, k=k: f"{PUBLISHED[row[0]][k]:.3f}")
            for k, heading in enumerate((f"published: {SMALL}", LARGE, *ADAPTIVE))
        ),
        column("fewer steps, matched", shown=lambda row: f"{PUBLISHED[row[0]].saved:.1%}"),
        *(
            measured(heading, lambda outcomes, strategy=strategy: outcomes[strategy].score.value, ".3f")
            for strategy, heading in zip(STRATEGIES, (f"here: {SMALL}", LARGE, *ADAPTIVE), strict=True)
        ),
        measured("fewer updates in all, matched", lambda o: o[MATCHED].saved.updates_in_all.value, ".1%"),
        measured("at equal loss", lambda outcomes: outcomes[MATCHED].saved.updates.value, ".1%"),
    )
    return Table("", columns, list(results.outcomes.items()), places=REPORT)


def published_note(config: Config) -> str:
    """What stands beside what."""
    return (
        "Published: validation loss of a Llama with 160M parameters, constant batches of 64 and 256"
        " sequences, and how many steps fewer the matched batch took (arXiv:2602.03001). Here: the"
        f" {config.metric} of a far smaller problem; they stand beside each other to be seen, not to agree."
    )


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    levels = ", ".join(f"{name} {outcomes[SMALL].level:.3g}" for name, outcomes in results.outcomes.items())
    missing = [f"{o.runs.contestant}: {o.not_reached}" for o in results.all_outcomes if o.not_reached]
    edge = [str(o.runs.contestant) for o in results.all_outcomes if not o.runs.tuned.bracketed]
    left_open = {
        "Runs that never reached the level": missing,
        "Best learning rate not bracketed (on the edge of what was tried)": edge,
    }
    return [
        f"Medians of {config.confirm_replicates} fresh seeds with {config.confidence:.0%} intervals; changes"
        f" and savings are paired by seed. Every run saw exactly {config.samples:,} examples, and its"
        " learning rate follows the examples seen. Each optimizer and batch was tuned with the same"
        f" {config.tuning_runs} runs.",
        f"{' and '.join(ADAPTIVE)}: the batch grows with the noise scale in that geometry, or in the"
        f" optimizer's own (θ = {config.euclidean_theta:g} and {config.matched_theta:g}); measured every"
        f" {config.measure_every} updates, growing after {config.warmup:.0%} of the examples, the learning"
        f" rate with it ({config.coupling}).",
        f"Equal loss: the lowest {config.metric} that {REACHING:.0%} of the runs of each of"
        f" {', '.join(COMPARED)} come down to: {levels}. Savings are shares of what {SMALL} takes; a run that"
        " never gets there counts as infinite.",
        f"Time: the median of {config.timing_repeats} runs on one device, all in turn, measured once."
        f" A growing batch is accumulated from micro-batches of {config.small_batch} in {config.parts} parts."
        " Its time along a run is placed by what a micro-batch and an update take, told from two more runs of"
        " the same program, whose batch stays small or large and is not measured; what the studied run takes"
        " beyond is put down to measuring (with the range over repeats).",
        f"No worse: the {results.scale.noun} of the final {config.metric}, with its interval, is below"
        f" {results.scale.text(no_worse(results.scale), sign='+')}.",
        f"{results.tally}",
        *naming_notes(left_open, "; "),
    ]


def _saved_range(results: Results, strategy: str) -> str:
    """The least and the most over optimizers."""
    saved = [100 * outcomes[strategy].saved.updates.value for outcomes in results.outcomes.values()]
    return f"{min(saved):.0f} to {max(saved):.0f} %"
