"""The findings as cells: losses, costs, what was published, and what needs said of them."""

import math

import numpy as np

from experiments.adaptive_batch_size.claims import no_worse
from experiments.adaptive_batch_size.config import ADAPTIVE, MATCHED, SMALL
from experiments.adaptive_batch_size.outcome import COMPARED, Outcome
from experiments.adaptive_batch_size.published import PUBLISHED
from experiments.adaptive_batch_size.results import Results
from experiments.adaptive_batch_size.savings import REACHING
from experiments.study.showing.tables import change_text, estimate_text
from schedules.search import Estimate, Scale

COST_HEADINGS = (
    "optimizer, batch",
    "last batch",
    "updates",
    "fewer, %",
    "fewer at equal loss, %",
    "ms a run",
    "less time there, %",
    "measuring adds, %",
)
PUBLISHED_HEADINGS = (
    "optimizer",
    "published: small",
    "large",
    "Euclidean",
    "matched",
    "fewer steps, matched",
    "here: small",
    "large",
    "Euclidean",
    "matched",
    "fewer updates in all, matched",
    "at equal loss",
)


def loss_headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of losses."""
    return (
        "optimizer, batch",
        "LR",
        f"{results.config.metric} [interval]",
        f"vs {SMALL}, {results.scale.unit}",
        *_others(results),
    )


def loss_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `loss_headings`, a row a contestant."""
    return [_loss_row(outcome, results) for outcome in results.all_outcomes]


def _loss_row(outcome: Outcome, results: Results) -> tuple[str, ...]:
    name, tuned = str(outcome.contestant), outcome.tuned
    return (
        name,
        f"{tuned.setting.learning_rate:.3g}" + ("" if tuned.bracketed else " (edge)"),
        estimate_text(outcome.score),
        "–" if outcome.contestant.strategy == SMALL else change_text(outcome.change, outcome.scale),
        *(f"{results.beside[name][metric]:.3g}" for metric in _others(results)),
    )


def cost_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under COST_HEADINGS, a row a contestant."""
    return [_cost_row(outcome) for outcome in results.all_outcomes]


def _cost_row(outcome: Outcome) -> tuple[str, ...]:
    pace, reference = outcome.pace, outcome.contestant.strategy == SMALL
    return (
        str(outcome.contestant),
        f"{np.median(outcome.curves.batch_sizes[:, -1]):.0f} ({outcome.growth:.1f}×)",
        f"{outcome.updates:.0f}",
        "–" if reference else f"{100 * outcome.saved_in_all.value:.0f}",
        "–" if reference else saving_text(outcome.saved),
        f"{1e3 * pace.run:.1f}",
        "–" if reference else saving_text(outcome.saved_time),
        "–" if pace.overhead is None else change_text(pace.overhead, Scale.RELATIVE),
    )


def saving_text(saved: Estimate) -> str:
    """A fraction saved in per cent, with its interval."""
    if math.isinf(saved.value):
        return "not reached"
    return f"{100 * saved.value:.0f} [{100 * saved.low:.0f}, {100 * saved.high:.0f}]"


def _others(results: Results) -> list[str]:
    """The workload's other metrics."""
    recorded = next(iter(results.beside.values()))
    return [
        name for name in recorded if name.startswith(("train_", "test_")) and name != results.config.metric
    ]


def published_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `PUBLISHED_HEADINGS`, a row an optimizer."""
    rows = []
    for optimizer, outcomes in results.outcomes.items():
        *losses, saved = PUBLISHED[optimizer]
        matched = outcomes[MATCHED]
        rows.append(
            (
                optimizer,
                *(f"{loss:.3f}" for loss in losses),
                f"{saved:.1%}",
                *(f"{outcome.score.value:.3f}" for outcome in outcomes.values()),
                f"{matched.saved_in_all.value:.1%}",
                f"{matched.saved.value:.1%}",
            )
        )
    return rows


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, counts = results.config, results.counts
    levels = ", ".join(f"{name} {of[SMALL].level:.3g}" for name, of in results.outcomes.items())
    lines = [
        f"Medians of {config.confirm_replicates} fresh seeds with {config.confidence:.0%} intervals; changes"
        f" and savings are paired by seed. Every run saw exactly {config.samples:,} examples, and its"
        " learning rate follows the examples seen. Each optimizer and batch was tuned with the same"
        f" {config.budget.runs} runs.",
        f"{' and '.join(ADAPTIVE)}: the batch grows with the noise scale in that geometry, or in the"
        f" optimizer's own (θ = {config.euclidean_theta:g} and {config.matched_theta:g}); measured every"
        f" {config.measure_every} updates, growing after {config.warmup:.0%} of the examples, the learning"
        f" rate with it ({config.coupling}).",
        f"Equal loss: the lowest {config.metric} that {REACHING:.0%} of the runs of each of"
        f" {', '.join(COMPARED)} come down to: {levels}. Savings are shares of what {SMALL} takes; a run that"
        " never gets there counts as infinite.",
        *_not_reached(results),
        f"Time: the median of {config.timing_repeats} runs on one device, all in turn, measured once."
        f" A growing batch is accumulated from micro-batches of {config.small_batch} in {config.parts} parts."
        " Its time along a run is placed by what a micro-batch and an update take, told from two more runs of"
        " the same program, whose batch stays small or large and is not measured; what the studied run takes"
        " beyond is put down to measuring (with the range over repeats).",
        f"No worse: the {results.scale.noun} of the final {config.metric}, with its interval, is below"
        f" {results.scale.text(no_worse(results.scale), sign='+')}.",
        f"{sum(counts.values()):,} runs, of which {counts.get('diverged', 0):,} diverged,"
        f" in {results.seconds:.0f} s of training.",
    ]
    edge = [str(outcome.contestant) for outcome in results.all_outcomes if not outcome.tuned.bracketed]
    if edge:
        lines.append(f"Best learning rate not bracketed (on the edge of what was tried): {'; '.join(edge)}.")
    return lines


def _not_reached(results: Results) -> list[str]:
    missing = [f"{o.contestant}: {o.not_reached}" for o in results.all_outcomes if o.not_reached]
    return [f"Runs that never reached the level: {'; '.join(missing)}."] if missing else []
