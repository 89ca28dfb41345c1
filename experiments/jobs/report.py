"""What a jobs folder tells: its verdict, or what is known so far, as a report in one file."""

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.jobs.config import JobsConfig
from experiments.jobs.folder import Jobs
from experiments.jobs.proposing import config_of
from experiments.jobs.state import JobTrial, State, state_of
from experiments.jobs.status import best_so_far, next_stage
from experiments.jobs.store import transaction
from experiments.study.showing.cells import as_text, shape_text
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished
from experiments.study.showing.findings import Figure, Findings, Part, write_report
from experiments.study.showing.shapes import shape_columns
from experiments.study.showing.standings import marked_name
from experiments.study.showing.table import REPORT, Column, Table, column
from experiments.study.storage.folder import StudyFolder, locked, write_atomically
from schedules import Interval
from schedules.search import Candidate, Estimate, Standing, Verdict, standings, verdict
from schedules.winners import FORMAT

QUESTION = "Which learning-rate shape is near-optimal for this job?"


class Results(NamedTuple):
    """What is known of a jobs folder.

    Attributes:
      config: what is searched.
      state: all trials.
      standings: of the finalists, the best first; none before the end.
      verdict: on the best one; None before the end.
    """

    config: JobsConfig
    state: State
    standings: tuple[Standing, ...]
    verdict: Verdict | None


def report_jobs(folder: str | Path) -> Findings:
    """Write report.html and winners.json into a jobs folder; returns what they tell.

    Raises StudyError where it is none, or another process reports it.
    """
    jobs = Jobs(Path(folder))
    with locked(jobs.path):
        results = _results(jobs)
        findings = present(results)
        place = StudyFolder(jobs.path)
        write_atomically(place.winners, json.dumps(findings.json(), indent=2) + "\n")
        write_report(findings, QUESTION, results.config, place)
    return findings


def _results(jobs: Jobs) -> Results:
    with transaction(jobs.record) as opened:
        outcome = jobs.conclude(opened)
        state = state_of(opened.events)
    config = config_of(state.config)
    if outcome is None:
        return Results(config, state, (), None)
    winners = {_name(winner.candidate): winner for winner in outcome.finalists}
    return Results(config, state, standings(winners, (), config.confidence), outcome.verdict)


def present(results: Results) -> Findings:
    """The finalists, the best schedule, and every run."""
    config, state = results.config, results.state
    told = sum(trial.status in ("told", "diverged") for trial in state.trials.values())
    trunk = f" after a trunk of {config.trunk_steps}" if config.trunk_steps else ""
    setting = f"{config.metric_name}, {config.num_steps} steps{trunk}, {told} runs told of {config.runs}"
    figures = [Figure("runs", partial(runs_figure, results))]
    tables = [
        Table("winners", _winner_columns(results), results.standings[:1], title="The winner", places=REPORT)
    ]
    if results.standings:
        figures.insert(0, Figure("schedules", partial(schedules_figure, results)))
        tables.append(Table("finalists", _finalist_columns(results), results.standings, title="Finalists"))
    return Findings(
        setting,
        _sentence(results),
        [
            Part("", [*tables, *_notes(results), *figures]),
            Part("All runs", [Table("", _run_columns(state), list(state.trials.values()), places=REPORT)]),
            *_imported(state),
        ],
        facts={
            "format": FORMAT,
            "num_steps": config.num_steps,
            "metric": config.metric_name,
            "near_optimality": results.verdict and str(results.verdict),
        },
    )


def schedules_figure(results: Results) -> bytes:
    """The learning rate of every step of the best, in front of the other finalists'."""
    figure, ax = chart(8, 3.5)
    for standing in reversed(results.standings):
        color = ACCENT if standing is results.standings[0] else CONTEXT
        for rates, line in zip(_rates(standing, results.config), ("-", "--"), strict=False):
            ax.plot(rates, line, color=color)
    ax.set_xlabel("step")
    ax.set_ylabel("learning rate")
    name = results.standings[0].name
    dashed = f", of {results.config.groups[1]} dashed" if results.config.groups else ""
    return finished(figure, f"The schedule of {name}{dashed}", {name: ACCENT, "other finalists": CONTEXT})


def runs_figure(results: Results) -> bytes:
    """The value of every run that was told, in the order in which they were asked for."""
    figure, ax = chart(8, 3.5)
    trials = list(results.state.trials.values())
    for confirming, color in ((False, REFERENCE), (True, ACCENT)):
        shown = [
            (number, trial.told.value)
            for number, trial in enumerate(trials, 1)
            if trial.told and (trial.stage == "confirm") == confirming
        ]
        ax.plot(*np.reshape(shown, (-1, 2)).T, ".", color=color)
    ax.set_xlabel("run")
    ax.set_ylabel(results.config.metric_name)
    return finished(figure, "Every run", {"exploring": REFERENCE, "confirming": ACCENT})


def _sentence(results: Results) -> str:
    """The verdict, or how far the search is."""
    if results.verdict is not None:
        best, *others = results.standings
        winner = verdict(results.standings, "", "finalist") if others else f"{best.name} is the one finalist."
        return f"{winner} {best.name}: {results.verdict}."
    best = best_so_far(results.state)
    known = f" Best so far: {best['family']} with {best['value']:.4g}." if best else ""
    return f"Not finished; next: {next_stage(results.state)}.{known}"


def _notes(results: Results) -> list[str]:
    if not results.standings:
        return []
    replicates = len(results.standings[0].winner.scores)
    return [
        f"* best; = not distinguishable from it. Medians of {replicates} fresh seeds that they share,"
        f" with {results.config.confidence:.0%} intervals."
    ]


def _name(candidate: Candidate) -> str:
    """A family may have several finalists."""
    return f"{candidate.family.name} {candidate.number}"


def _rates(standing: Standing, config: JobsConfig) -> Float[np.ndarray, "groups steps"]:
    """Of all parameters as of one group where there are none."""
    candidate = standing.winner.candidate
    multipliers = np.asarray(candidate.family.multipliers(candidate.params, config.num_steps))
    return candidate.base_lr * multipliers.reshape(-1, config.num_steps)


def _score(results: Results) -> Column[Standing]:
    """The median of the confirming runs, in the metric's own sign."""

    def score(standing: Standing) -> Estimate:
        value, *ends = (results.state.sign * end for end in standing.score)
        return Estimate(value, *sorted(ends))

    return column(f"{results.config.metric_name} [interval]", score=score)


def _winner_columns(results: Results) -> tuple[Column[Standing], ...]:
    return (
        column("family", family=lambda standing: standing.winner.candidate.family.name),
        column(options=lambda standing: standing.winner.candidate.family.options),
        *_shape_columns(results.config),
        _score(results),
    )


def _finalist_columns(results: Results) -> tuple[Column[Standing], ...]:
    return (
        column("finalist", shown=marked_name, finalist=lambda standing: standing.name),
        *_shape_columns(results.config),
        _score(results),
        column("diverged", diverged=lambda standing: standing.diverged),
        column(ties_with_best=lambda standing: standing.ties_with_best),
    )


def _shape_columns(config: JobsConfig) -> tuple[Column[Standing], ...]:
    return shape_columns("shape", Interval(*config.learning_rates, log=True), config.groups)


def _run_columns(state: State) -> tuple[Column[JobTrial], ...]:
    return (
        column("trial", shown=lambda trial: trial.id),
        column("stage", shown=lambda trial: trial.stage),
        column("schedule", shown=lambda trial: f"{trial.family} {shape_text(trial.params)}"),
        column("base LR", shown=lambda trial: as_text(trial.base_lr)),
        column("seed", shown=lambda trial: as_text(trial.seed)),
        column("status", shown=lambda trial: "given up" if state.given_up(trial) else _status(trial)),
        column("value", shown=lambda trial: as_text(trial.told and trial.told.value)),
        column("standard error", shown=lambda trial: as_text(trial.told and trial.told.sem)),
        column("others", shown=lambda trial: shape_text(trial.told.metrics) if trial.told else ""),
        column("on the way", shown=_on_the_way),
    )


def _status(trial: JobTrial) -> str:
    corrected = f", corrected {trial.corrections} times" if trial.corrections else ""
    return f"{trial.status}{corrected}"


def _on_the_way(trial: JobTrial) -> str:
    return " ".join(f"{partial.step}: {partial.told.value:.3g}" for partial in trial.partial)


def _imported(state: State) -> Sequence[Part]:
    if not state.imported:
        return ()
    columns = (
        column("run", shown=lambda run: run.name),
        column("value", shown=lambda run: as_text(math.inf if run.value is None else run.value)),
    )
    return (Part("Runs made before", [Table("", columns, state.imported, places=REPORT)]),)
