"""What a comparison found: the table, and winners.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from rich.console import Console

from experiments.optimizer_comparison.config import REFERENCE_OPTIMIZER, Config
from experiments.study.crossing import first_reached
from experiments.study.folder import StudyFolder
from experiments.study.journal import Journal
from experiments.study.options import workload_text
from experiments.study.tables import (
    change_text,
    estimate_json,
    estimate_text,
    finite_or_none,
    marked_name,
    median_metrics,
    other_test_metrics,
    show_table,
)
from experiments.study.tuning import CONFIRM, Tuned
from schedules.search import Standing, standings, verdict


class Pace(NamedTuple):
    """How fast an optimizer is.

    Attributes:
      curve: the median over confirming runs of the metric, at each of `config.curve_steps`.
      step_seconds: seconds a training step takes, the median over repeats.
      relative_step: that over the reference's, the median over paired repeats.
      steps: the step at which the curve first reaches the reference's final value, over the horizon;
        infinite where it does not.
      seconds: the same as a fraction of the reference's time for the horizon.
    """

    curve: Float[np.ndarray, "points"]
    step_seconds: float
    relative_step: float
    steps: float
    seconds: float


class Results(NamedTuple):
    """A finished comparison.

    Attributes:
      config: what was compared.
      standings: the optimizers, best first.
      paces: how fast each is.
      beside: by optimizer, the medians of all metrics at the end of the confirming runs.
      counts: runs by status, "finished" and "diverged".
      seconds: how long the runs took together.
    """

    config: Config
    standings: tuple[Standing, ...]
    paces: Mapping[str, Pace]
    beside: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    seconds: float

    @property
    def setting(self) -> str:
        config = self.config
        workload = workload_text(config.workload, config.workload_options)
        return f"{workload}, batch {config.batch_size}, {config.num_steps} steps, {config.schedule} schedule"

    @property
    def verdict(self) -> str:
        return verdict(self.standings, REFERENCE_OPTIMIZER, "optimizer")


def collect(
    tuned: Mapping[str, Tuned],
    timings: Mapping[str, Sequence[float]],
    config: Config,
    journal: Journal,
) -> Results:
    """Rank the optimizers, and add what the journal and the clock know beside their scores."""
    medians = median_metrics(journal, CONFIRM)
    curves = {
        name: np.array([values[f"{config.metric}@{step}"] for step in config.curve_steps])
        for name, values in medians.items()
    }
    ranked = standings(tuned, (REFERENCE_OPTIMIZER,), config.confidence)
    paces = {name: _pace(curve, name, curves, timings, config) for name, curve in curves.items()}
    beside = {name: {k: v for k, v in values.items() if "@" not in k} for name, values in medians.items()}
    return Results(config, ranked, paces, beside, journal.counts(), journal.seconds())


def _pace(
    curve: Float[np.ndarray, "points"],
    name: str,
    curves: Mapping[str, Float[np.ndarray, "points"]],
    timings: Mapping[str, Sequence[float]],
    config: Config,
) -> Pace:
    relative = float(np.median(np.divide(timings[name], timings[REFERENCE_OPTIMIZER])))
    steps = first_reached(curve, config.curve_steps, curves[REFERENCE_OPTIMIZER][-1]) / config.num_steps
    return Pace(curve, float(np.median(timings[name])), relative, steps, steps * relative)


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the final table, the verdict, and where everything is."""
    show_table(
        console,
        results.setting,
        headings(results),
        table_rows(results),
        (results.verdict, *notes(results)),
        (folder.report, folder.winners),
    )


def headings(results: Results) -> tuple[str, ...]:
    """The headings of the final table."""
    config = results.config
    return (
        "optimizer",
        "LR",
        "decay",
        f"{config.metric} [interval]",
        f"vs {REFERENCE_OPTIMIZER}, {results.standings[0].scale.unit}",
        *_others(results),
        "ms a step",
        "steps, time",
    )


def table_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `headings`, a row an optimizer, best first."""
    return [_row(standing, results) for standing in results.standings]


def _row(standing: Standing, results: Results) -> tuple[str, ...]:
    tuned: Tuned = standing.winner
    pace = results.paces[standing.name]
    return (
        marked_name(standing),
        f"{tuned.setting.learning_rate:.3g}" + ("" if tuned.bracketed else " (edge)"),
        f"{tuned.setting.decay:g}",
        estimate_text(standing.score),
        change_text(standing.against.get(REFERENCE_OPTIMIZER), standing.scale),
        *(f"{results.beside[standing.name][name]:.3g}" for name in _others(results)),
        f"{1e3 * pace.step_seconds:.2f} ({pace.relative_step:.2f}×)",
        "–" if math.isinf(pace.steps) else f"{pace.steps:.0%}, {pace.seconds:.0%}",
    )


def _others(results: Results) -> list[str]:
    return other_test_metrics(results.beside[REFERENCE_OPTIMIZER], results.config.metric)


def notes(results: Results) -> list[str]:
    """What the table needs said."""
    config, counts = results.config, results.counts
    lines = [
        f"* best; = not distinguishable from it. Medians of {config.confirm_replicates} fresh seeds with"
        f" {config.confidence:.0%} intervals; changes are paired by seed.",
        f"Every optimizer was tuned with the same {config.budget.runs} runs:"
        f" {config.first_rates + config.more_rates} learning rates, {len(config.decays)} decays,"
        f" {config.screen_replicates} seeds.",
        f"Steps and time needed: where the median run first reaches {REFERENCE_OPTIMIZER}'s final"
        f" {config.metric}, as a share of what {REFERENCE_OPTIMIZER} takes.",
        f"{sum(counts.values()):,} runs, of which {counts.get('diverged', 0):,} diverged,"
        f" in {results.seconds:.0f} s of training.",
    ]
    edge = [s.name for s in results.standings if not s.winner.bracketed]
    if edge:
        lines.append(f"Best learning rate not bracketed (on the edge of what was tried): {', '.join(edge)}.")
    return lines


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json, best first."""
    config = results.config
    return {
        "workload": config.workload,
        "metric": config.metric,
        "confidence": config.confidence,
        "scale": results.standings[0].scale.value,
        "verdict": results.verdict,
        "winners": [_winner_json(standing, results) for standing in results.standings],
    }


def _winner_json(standing: Standing, results: Results) -> dict[str, Any]:
    tuned: Tuned = standing.winner
    pace = results.paces[standing.name]
    return {
        "optimizer": standing.name,
        "learning_rate": tuned.setting.learning_rate,
        "learning_rate_bracketed": tuned.bracketed,
        "decay": tuned.setting.decay,
        "score": estimate_json(standing.score),
        "replicates": len(tuned.scores),
        "diverged": standing.diverged,
        "change_against": {name: estimate_json(change) for name, change in standing.against.items()},
        "ties_with_best": standing.ties_with_best,
        "step_seconds": pace.step_seconds,
        "relative_step": pace.relative_step,
        "steps_needed": finite_or_none(pace.steps),
        "time_needed": finite_or_none(pace.seconds),
        "metrics": {name: finite_or_none(v) for name, v in results.beside[standing.name].items()},
    }
