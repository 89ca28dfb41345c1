"""What is told of a shape search."""

from collections.abc import Callable
from functools import partial
from typing import Any

from experiments.shape_search import candidate_figures, figures
from experiments.shape_search.config import BASELINES, CURVES, Config
from experiments.shape_search.explanation import claims, explained
from experiments.shape_search.runs import Results
from experiments.study.showing.cells import at_edge, change_text, shape_text
from experiments.study.showing.findings import Figure, Findings, Part
from experiments.study.showing.shapes import group_facts, shape_columns
from experiments.study.showing.standings import marks_note, standing_columns
from experiments.study.showing.table import REPORT, Table, column
from schedules.groups import group_shapes
from schedules.search import Candidate, Finding, Standing, Verdict, verdict
from schedules.winners import FORMAT

DRAWING = ("random", "sobol")  # strategies whose shapes are a sample of the family
FACTS = ("workload", "optimizer", "batch_size", "num_steps", "metric", "confidence")  # of winners.json


def present(results: Results) -> Findings:
    """The ranking, how near-optimal the best are, and the score against each parameter."""
    config = results.config
    overview = {
        "scores": figures.winner_scores,
        "importances": candidate_figures.importances,
        "allocation": candidate_figures.allocation,
        "learning_rates": candidate_figures.score_against_rate,
    }
    if results.explanation is not None:
        overview["sensitivity"] = figures.sensitivity
    if config.strategy in DRAWING:
        overview["distributions"] = candidate_figures.score_distributions
    drawn = [
        *shapes_figures("winning_shapes", figures.winning_shapes, results),
        *shapes_figures("near_best_shapes", figures.near_best_shapes, results),
        *(Figure(name, partial(draw, results)) for name, draw in overview.items()),
    ]
    parameters = [
        Figure(f"parameters_{s.name}", partial(candidate_figures.score_against_parameters, results, s))
        for s in results.standings
    ]
    return Findings(
        setting(config),
        verdict(results.standings, BASELINES[0]),
        [
            Part("", [ranking(results), *notes(results), *drawn]),
            *near_optimality(results),
            *explained(results),
            Part("Score against each shape parameter", parameters),
        ],
        claims=claims(results),
        facts={
            "format": FORMAT,
            **{name: getattr(config, name) for name in FACTS},
            "scale": results.best.scale.value,
        },
    )


def shapes_figures(name: str, draw: Callable[..., bytes], results: Results) -> list[Figure]:
    """A figure of shapes, or one for each group of parameters where these have shapes of their own."""
    if results.config.shapes == "shared":
        return [Figure(name, partial(draw, results))]
    return [
        Figure(f"{name}_{group}", partial(draw, results, place))
        for place, group in enumerate(results.config.groups)
    ]


def setting(config: Config) -> str:
    """What was trained, in a line."""
    return f"{config.workload}, {config.optimizer}, batch {config.batch_size}, {config.num_steps} steps"


def ranking(results: Results) -> Table[Standing]:
    """A row a family, best first; `schedules.load_winner` reads winners.json back."""
    config, verdicts = results.config, results.verdicts

    def candidate(standing: Standing) -> Candidate:
        return standing.winner.candidate

    def near_facts(name: str) -> dict[str, Any] | None:
        return verdict_facts(verdicts[name], config) if name in verdicts else None

    inserted = (
        column(options=lambda standing: candidate(standing).family.options),
        *shape_columns("best shape", config.learning_rate_range, config.groups),
        column(base_lr_at_edge=lambda standing: is_at_edge(standing, config)),
        column(candidate=lambda standing: candidate(standing).number),
        column(replicates=lambda standing: len(standing.winner.scores)),
        column(near_optimality=lambda s: near_facts(s.name)),
    )
    heading = f"{config.metric} [interval]"
    columns = standing_columns(
        "family", heading, BASELINES, results.standings, results.medians, config.metric, inserted
    )
    return Table("winners", columns, results.standings)


def notes(results: Results) -> list[str]:
    """What the table needs said: its signs, how much was run, what diverged or was not bracketed."""
    config, found = results.config, results.challenger
    edge = ", ".join(standing.name for standing in results.standings if is_at_edge(standing, config))
    return [
        marks_note(len(results.best.winner.scores), config.confidence),
        str(results.tally),
        *(f"{name}: {verdict}." for name, verdict in results.verdicts.items()),
        *(["What was found to beat it is what `steepest export` prints."] if found else []),
        *([f"Best base LR at an edge of learning_rates, widen them: {edge}."] if edge else []),
    ]


def is_at_edge(standing: Standing, config: Config) -> bool:
    """Whether the best base learning rate lies at an edge of those searched."""
    return at_edge(standing.winner.base_lr, config.learning_rate_range)


def near_optimality(results: Results) -> list[Part]:
    """A row a winner that was checked, and the figures of its check."""
    verdicts = results.verdicts
    if not verdicts:
        return []
    scale = next(iter(verdicts.values())).scale  # which all share

    def found(row: tuple[str, Verdict]) -> Candidate:
        return row[1].best.found

    columns = (
        column("winner", shown=lambda row: row[0]),
        column("verdict", shown=lambda row: str(row[1])),
        column(
            f"best change found, {scale.unit}", shown=lambda row: change_text(row[1].best.change, scale, 1)
        ),
        column("in", shown=lambda row: found(row).family.name),
        column("base LR", shown=lambda row: f"{found(row).base_lr:.3g}"),
        column("shape", shown=lambda row: shape_text(found(row).params)),
    )
    drawn = [
        *shapes_figures("found_shapes", figures.found_shapes, results),
        *(
            Figure(f"sweeps_{name}", partial(figures.sweeps, verdict))
            for name, verdict in verdicts.items()
            if verdict.sweeps
        ),
    ]
    table = Table("", columns, list(verdicts.items()), places=REPORT)
    return [Part("How near-optimal are the best?", [table, *drawn])]


def verdict_facts(verdict: Verdict, config: Config) -> dict[str, Any]:
    """A verdict for winners.json, with the shapes found in place of the winner's."""

    def facts(finding: Finding) -> dict[str, Any]:
        candidate = finding.found
        params = candidate.params
        shape = {"family": candidate.family.name, "params": group_shapes(params)[0]}
        groups = group_facts(params, config.groups) if config.groups else {}
        change = {"change": finding.change, "delta": finding.delta}
        return {**shape, "base_lr": candidate.base_lr, **groups, **change}

    if config.strategy == CURVES:
        found = {"challenger": facts(verdict.own)}
    else:
        found = {"own_family": facts(verdict.own), "free": verdict.free and facts(verdict.free)}
    return {
        "verdict": str(verdict),
        "scale": verdict.scale.value,
        "improved": verdict.improved,
        "delta": verdict.delta,
        **found,
    }
