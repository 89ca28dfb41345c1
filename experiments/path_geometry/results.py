"""What a study of path geometry found: its tables, and winners.json."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from experiments.path_geometry.claims import path_claims, schedule_claims
from experiments.path_geometry.config import AS_IT_IS, BASELINE, PRESCRIBED, Config
from experiments.path_geometry.paths import Group, Paths, late_to_early, relative_spread, typical
from experiments.study.options.pairs import workload_text
from experiments.study.showing.old_claims import CLAIM_HEADINGS, Claim, claim_rows, claims_json, summary
from experiments.study.showing.tables import (
    base_lr_text,
    change_text,
    estimate_json,
    estimate_text,
    finite_or_none,
    marked_name,
    median_metrics,
    other_test_metrics,
    shape_text,
    show_table,
)
from experiments.study.storage.folder import StudyFolder
from experiments.study.storage.journal import Journal
from schedules.search import Standing, Winner, median_estimate, standings, verdict

PATH_HEADINGS = (
    "optimizer",
    "batch",
    "labels",
    "γ of the gradient, interval",
    "γ of the update",
    "γ √d of random directions, RMS",
    "last third / first",
    "spread within a run",
)


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was measured.
      paths: the measured paths.
      claims: about paths, then about the prescribed schedule.
      standings: the schedules, best first.
      beside: by schedule, the medians of all metrics over the confirming runs.
      counts: runs by status, "finished" and "diverged".
      seconds: how long the runs took together.
    """

    config: Config
    paths: Paths
    claims: tuple[Claim, ...]
    standings: tuple[Standing, ...]
    beside: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    seconds: float

    @property
    def setting(self) -> str:
        config = self.config
        workload = workload_text(config.workload, config.workload_options)
        return f"{workload}, {config.num_steps} steps, {config.schedule} schedule"

    @property
    def verdict(self) -> str:
        held = sum(claim.held for claim in self.claims)
        contest = verdict(self.standings, BASELINE, "schedule")
        return f"{held} of {len(self.claims)} claims held. Of the schedules, {contest}"


def collect(paths: Paths, winners: Mapping[str, Winner], config: Config, journal: Journal) -> Results:
    """Judge the claims, rank the schedules, and add what the journal knows beside their scores."""
    ranked = standings(winners, (BASELINE,), config.confidence)
    claims = (*path_claims(paths, config), *schedule_claims(ranked, config.metric))
    beside = median_metrics(journal, "confirm")
    return Results(config, paths, claims, ranked, beside, journal.counts(), journal.seconds())


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print both tables, the verdict, and where everything is."""
    show_table(
        console,
        results.setting,
        CLAIM_HEADINGS,
        claim_rows(results.claims),
        summary(results.claims),
        (),
        wrapped=(1,),
    )
    show_table(
        console,
        f"sgd, batch {results.config.middle_batch}, {results.config.num_steps} steps",
        schedule_headings(results),
        schedule_rows(results),
        (results.verdict, *notes(results)),
        (folder.report, folder.winners),
        wrapped=(1,),
    )


def path_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `PATH_HEADINGS`, a row a group of runs."""
    return [_path_row(group, results.paths, results.config.confidence) for group in results.paths.series]


def _path_row(group: Group, paths: Paths, confidence: float) -> tuple[str, ...]:
    gradient, update, random = (paths.cosines(group, vector) for vector in ("gradient", "update", "random"))
    return (
        group.optimizer,
        str(group.batch_size),
        group.labels,
        estimate_text(median_estimate(typical(gradient), confidence)),
        f"{np.median(typical(update)):.3g}",
        f"{np.sqrt(np.mean(random**2) * paths.parameters):.3f}",
        f"{np.median(late_to_early(gradient)):.2f}",
        f"{np.median(relative_spread(gradient)):.0%}",
    )


def schedule_headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of schedules."""
    metric = results.config.metric
    return (
        "schedule",
        "best shape",
        "base LR",
        f"{metric}, interval",
        f"vs {BASELINE}, {results.standings[0].scale.unit}",
        *_others(results),
    )


def schedule_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `schedule_headings`, best first."""
    return [_schedule_row(standing, results) for standing in results.standings]


def _schedule_row(standing: Standing, results: Results) -> tuple[str, ...]:
    winner: Winner = standing.winner
    searched = standing.name != AS_IT_IS
    return (
        marked_name(standing),
        shape_text(winner.candidate.params),
        base_lr_text(winner.base_lr, results.config.learning_rate_range if searched else None),
        estimate_text(standing.score),
        change_text(standing.against.get(BASELINE), standing.scale),
        *(f"{results.beside[standing.name][name]:.3g}" for name in _others(results)),
    )


def _others(results: Results) -> list[str]:
    return other_test_metrics(results.beside[BASELINE], results.config.metric)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, counts, paths = results.config, results.counts, results.paths
    random = np.concatenate([paths.cosines(group, "random").ravel() for group in paths.series])
    lines = [
        f"* best; = not distinguishable from it. Medians of {config.confirm_replicates} fresh seeds with"
        f" {config.confidence:.0%} intervals; changes are paired by seed.",
        f"Equal budget: every schedule but '{AS_IT_IS}' was tuned with the same"
        f" {config.schedule_runs - config.confirm_replicates} runs; '{PRESCRIBED}' has one shape and spent"
        f" them on its learning rate. The {config.replicates} runs it was derived from come on top, and share"
        " no seed with those that choose or score.",
        f"γ is that of the batch's gradient unless it is the update's: medians of {config.replicates} seeds"
        f" at batch {config.middle_batch} with true labels, unless stated. A path's own end is its reference:"
        " even a walk of independent steps has γ > 0, and one with momentum more of it.",
        f"Random directions, the control: γ √d has RMS {np.sqrt(np.mean(random**2) * paths.parameters):.3f}"
        " (1 expected).",
        f"Replays that ended elsewhere than the first pass: {paths.inexact}."
        f" Measured runs left out for divergence: {paths.diverged}.",
        f"{sum(counts.values()):,} runs, of which {counts.get('diverged', 0):,} diverged,"
        f" in {results.seconds:.0f} s of training.",
    ]
    return lines


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json: the claims, then the schedules, best first."""
    config = results.config
    return {
        "workload": config.workload,
        "metric": config.metric,
        "confidence": config.confidence,
        "scale": results.standings[0].scale.value,
        "verdict": results.verdict,
        "claims": claims_json(results.claims),
        "winners": [_winner_json(standing, results) for standing in results.standings],
    }


def _winner_json(standing: Standing, results: Results) -> dict[str, Any]:
    candidate = standing.winner.candidate
    multipliers = candidate.family.multipliers(candidate.params, results.config.num_steps)
    return {
        "schedule": standing.name,
        "params": dict(candidate.params),
        "base_lr": candidate.base_lr,
        "multipliers": [float(multiplier) for multiplier in multipliers],
        "score": estimate_json(standing.score),
        "diverged": standing.diverged,
        "change_against": {name: estimate_json(change) for name, change in standing.against.items()},
        "ties_with_best": standing.ties_with_best,
        "metrics": {name: finite_or_none(value) for name, value in results.beside[standing.name].items()},
    }
