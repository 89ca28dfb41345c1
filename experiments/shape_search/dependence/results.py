"""What a dependence study found: the costs of transfer, the claim, tables, winners.json."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.console import Console

from experiments.shape_search.dependence.claims import dependence_claims, verdict
from experiments.shape_search.dependence.config import Dependence
from experiments.shape_search.dependence.transfer import Transferred
from experiments.study.showing.old_claims import Claim, claims_json
from experiments.study.showing.tables import (
    at_edge,
    change_text,
    estimate_json,
    estimate_text,
    shape_text,
    show_table,
)
from experiments.study.storage.folder import StudyFolder
from experiments.study.storage.journal import Journal
from schedules.search import Estimate, Scale, median_change, median_estimate
from schedules.winners import LoadedWinner


class Results(NamedTuple):
    """A finished study.

    Attributes:
      dependence: what was varied.
      shapes: the best shape of each setting, as its search found it.
      transferred: every setting's shape in every setting, by the setting trained in, then the shape's.
      costs: the change of the median from that of the setting's own shape, on the same fresh seeds, in the
        same order; each interval at the study's `level`.
      scale: of all costs.
      claims: about each setting but the reference.
      counts, seconds: of the transfer's runs by status, and how long they took together.
    """

    dependence: Dependence
    shapes: Mapping[str, LoadedWinner]
    transferred: Mapping[str, Mapping[str, Transferred]]
    costs: Mapping[str, Mapping[str, Estimate]]
    scale: Scale
    claims: tuple[Claim, ...]
    counts: Mapping[str, int]
    seconds: float

    @property
    def verdict(self) -> str:
        return verdict(self.costs, self.dependence.reference, self.dependence.vary, self.scale)

    def score(self, name: str) -> Estimate:
        """That of a setting's own shape there."""
        return median_estimate(self.transferred[name][name].scores, self.dependence.search.confidence)


def collect(
    dependence: Dependence,
    shapes: Mapping[str, LoadedWinner],
    transferred: Mapping[str, Mapping[str, Transferred]],
    journal: Journal,
) -> Results:
    """Compare every shape with the one that belongs to the setting."""
    scale = Scale.of(*(one.scores for of in transferred.values() for one in of.values()))
    costs = {
        setting: {
            name: median_change(one.scores, of[setting].scores, dependence.level, scale)
            for name, one in of.items()
            if name != setting
        }
        for setting, of in transferred.items()
    }
    claims = dependence_claims(costs, dependence.reference, scale)
    counts, seconds = journal.counts(), journal.seconds()
    return Results(dependence, shapes, transferred, costs, scale, claims, counts, seconds)


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json; each setting's own, in its folder, is read by `schedules.load_winner`."""
    dependence = results.dependence
    return {
        "vary": dependence.vary,
        "reference": dependence.reference,
        "metric": dependence.search.metric,
        "confidence": dependence.search.confidence,
        "level": dependence.level,
        "scale": results.scale.value,
        "verdict": results.verdict,
        "claims": claims_json(results.claims),
        "settings": [
            {
                "setting": name,
                "changes": changes,
                "family": results.shapes[name].family.name,
                "options": dict(results.shapes[name].family.options),
                "params": dict(results.shapes[name].params),
                "base_lr": results.transferred[name][name].candidate.base_lr,
                "score": estimate_json(results.score(name)),
            }
            for name, changes in dependence.changes.items()
        ],
        "transfers": [
            {
                "trained_in": setting,
                "shape_of": name,
                "base_lr": one.candidate.base_lr,
                "base_lr_bracketed": one.bracketed,
                "score": estimate_json(median_estimate(one.scores, dependence.search.confidence)),
                "diverged": sum(math.isinf(score) for score in one.scores),
                "cost": estimate_json(results.costs[setting][name]) if name != setting else None,
            }
            for setting, of in results.transferred.items()
            for name, one in of.items()
        ],
    }


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the settings' shapes, what the others' cost, and the verdict."""
    show_table(console, title(results), headings(results), table_rows(results), (), (), wrapped=(1,))
    lines = (results.verdict, *notes(results))
    cost = f"cost, {results.scale.unit} (rows: shape of; columns: trained in)"
    show_table(
        console, cost, matrix_headings(results), matrix_rows(results), lines, (folder.report, folder.winners)
    )


def title(results: Results) -> str:
    config, vary = results.dependence.search, results.dependence.vary
    fixed = {
        "optimizer": config.optimizer,
        "batch_size": f"batch {config.batch_size}",
        "num_steps": f"{config.num_steps} steps",
    }
    others = ", ".join(text for name, text in fixed.items() if name != vary)
    return f"{vary} varied: {config.workload}, {others}, {config.metric}"


def headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of settings."""
    reference = results.dependence.reference
    unit = results.scale.unit
    costs = f"{reference}'s shape there, {unit}", f"its shape in {reference}, {unit}"
    return "setting", "best shape", "base LR", f"{results.dependence.search.metric} [interval]", *costs


def table_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `headings`, a row a setting."""
    reference, costs = results.dependence.reference, results.costs
    return [
        (
            name,
            f"{shape.family.name} {shape_text(shape.params)}",
            f"{results.transferred[name][name].candidate.base_lr:.3g}",
            estimate_text(results.score(name)),
            change_text(costs[name].get(reference), results.scale),
            change_text(costs[reference].get(name), results.scale),
        )
        for name, shape in results.shapes.items()
    ]


def matrix_headings(results: Results) -> tuple[str, ...]:
    return "", *results.costs


def matrix_rows(results: Results) -> list[tuple[str, ...]]:
    """The cost of each setting's shape, a row a shape, a column a setting that it was trained in."""
    return [
        (name, *(cost_text(results.costs[setting].get(name), results.scale) for setting in results.costs))
        for name in results.shapes
    ]


def cost_text(cost: Estimate | None, scale: Scale) -> str:
    """In the scale's unit, with * where the interval does not hold zero."""
    if cost is None or math.isnan(cost.value):
        return "–"
    return scale.text(cost.value, 1, "+").removesuffix("%") + ("*" if cost.low > 0 or cost.high < 0 else "")


def notes(results: Results) -> list[str]:
    """What the tables need said: their intervals, what was run, which shapes did better than the own ones."""
    config, counts = results.dependence.search, results.counts
    lines = [
        f"Each shape's learning rate is tuned where it is trained, with {config.select_replicates} seeds;"
        f" medians of {config.confirm_replicates} further ones, paired. The intervals of a row or column"
        f" hold together at {config.confidence:.0%}; * where one does not hold zero.",
        f"{sum(counts.values()):,} transfer runs, of which {counts.get('diverged', 0):,} diverged, in"
        f" {results.seconds:.0f} s; every setting's search has its own report in settings/.",
    ]
    better = [
        f"{name}'s in {setting} ({results.scale.text(cost.value, 1, '+')})"
        for setting, of in results.costs.items()
        for name, cost in of.items()
        if cost.high < 0
    ]
    open_ended = [
        f"{name}'s in {setting}"
        for setting, of in results.transferred.items()
        for name, one in of.items()
        if not one.bracketed
    ]
    edge = [
        name
        for name, setting in results.dependence.settings.items()
        if at_edge(results.shapes[name].base_lr, setting.learning_rate_range)
    ]
    warnings = {
        "Better than the shape that was searched there": better,
        "Best learning rate at the edge of those that were tried again": open_ended,
        "Best searched learning rate at an edge of learning_rates, widen them": edge,
    }
    return lines + [f"{warning}: {', '.join(of)}." for warning, of in warnings.items() if of]
