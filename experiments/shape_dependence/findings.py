"""What is told of a dependence: the settings' shapes, and what each costs elsewhere."""

import math
from typing import Any

from experiments.shape_dependence import figures
from experiments.shape_dependence.costs import cost_claims, cost_text, verdict
from experiments.shape_dependence.runs import Results
from experiments.study.showing.cells import at_edge, change_cell
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import naming_notes, shape_column
from experiments.study.showing.table import Column, Table, column

FACTS = ("vary", "reference", "metric", "confidence", "level")  # of winners.json


def present(results: Results) -> Findings:
    """The settings with their shapes, the matrix of costs, and the claims."""
    config, scale = results.config, results.scale
    fixed = {
        "optimizer": config.optimizer,
        "batch_size": f"batch {config.batch_size}",
        "num_steps": f"{config.num_steps} steps",
    }
    others = ", ".join(text for name, text in fixed.items() if name != config.vary)
    images = drawn(results, figures.costs, figures.best_shapes, figures.transfer_matrix)
    cost = f"cost, {scale.unit} (rows: shape of; columns: trained in)"
    return Findings(
        f"{config.vary} varied: {config.workload}, {others}, {config.metric}",
        verdict(results.costs, config.reference, config.vary, scale),
        [Part("", [shapes(results), *notes(results), *images]), Part(cost, [matrix(results)])],
        cost_claims(results.costs, config.reference, scale),
        facts(config, *FACTS, scale=scale.value, transfers=transfers(results)),
    )


def shapes(results: Results) -> Table[str]:
    """A row a setting: its own shape, and what the reference's and its own cost in the other's place."""
    config, found, costs, unit = results.config, results.shapes, results.costs, results.scale.unit
    reference, change = config.reference, change_cell(results.scale)
    columns = (
        column("setting", setting=lambda name: name),
        column(changes=config.changes.get),
        shape_column("best shape", found.get),
        column(options=lambda name: found[name].family.options),
        column("base LR", base_lr=lambda name: results.transferred[name][name].candidate.base_lr),
        column(f"{config.metric} [interval]", score=lambda name: results.score(name, name)),
        column(
            f"{reference}'s shape there, {unit}", shown=lambda name: change(cost=costs[name].get(reference))
        ),
        column(
            f"its shape in {reference}, {unit}", shown=lambda name: change(cost=costs[reference].get(name))
        ),
    )
    return Table("settings", columns, list(found))


def matrix(results: Results) -> Table[str]:
    """The cost of each setting's shape, a row a shape, a column a setting that it was trained in."""

    def trained_in(setting: str) -> Column[str]:
        return column(setting, shown=lambda name: cost_text(results.costs[setting].get(name), results.scale))

    columns = column("shape of", shown=str), *map(trained_in, results.costs)
    return Table("", columns, list(results.shapes))


def transfers(results: Results) -> list[dict[str, Any]]:
    """Every shape in every setting, for winners.json."""
    return [
        {
            "trained_in": setting,
            "shape_of": name,
            "base_lr": transferred.candidate.base_lr,
            "base_lr_bracketed": transferred.bracketed,
            "score": results.score(setting, name),
            "diverged": sum(map(math.isinf, transferred.scores)),
            "cost": results.costs[setting].get(name),
        }
        for setting, in_setting in results.transferred.items()
        for name, transferred in in_setting.items()
    ]


def notes(results: Results) -> list[str]:
    """What the tables need said: their intervals, what was run, which shapes did better than the own ones."""
    config, tally = results.config, results.tally
    better = [
        f"{name}'s in {setting} ({results.scale.text(cost.value, 1, '+')})"
        for setting, costs in results.costs.items()
        for name, cost in costs.items()
        if cost.high < 0
    ]
    open_ended = [
        f"{name}'s in {setting}"
        for setting, in_setting in results.transferred.items()
        for name, transferred in in_setting.items()
        if not transferred.bracketed
    ]
    edge = [
        name
        for name, search in config.settings.items()
        if at_edge(results.shapes[name].base_lr, search.learning_rate_range)
    ]
    warnings = {
        "Better than the shape that was searched there": better,
        "Best learning rate at the edge of those that were tried again": open_ended,
        "Best searched learning rate at an edge of learning_rates, widen them": edge,
    }
    return [
        f"Each shape's learning rate is tuned where it is trained, with {config.select_replicates} seeds;"
        f" medians of {config.confirm_replicates} further ones, paired. The intervals of a row or column"
        f" hold together at {config.confidence:.0%}; * where one does not hold zero.",
        f"{tally.runs:,} transfer runs, of which {tally.diverged:,} diverged, in {tally.seconds:.0f} s; every"
        " setting's search has its own report in settings/.",
        *naming_notes(warnings),
    ]
