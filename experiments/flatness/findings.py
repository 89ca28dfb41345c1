"""What is told of flat minima: the error and the curvature of every method, and the claims."""

import numpy as np

from experiments.flatness import figures
from experiments.flatness.claims import ERROR, change, claims
from experiments.flatness.config import GRADIENTS, REFERENCE, VIEWS
from experiments.flatness.digits import CHANCE_ECE, ECE, LARGEST, TRACE
from experiments.flatness.runs import FIRST_RATE, Outcome, Results
from experiments.study.showing.cells import percent_cell
from experiments.study.showing.claims import tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import median_column, rate_column
from experiments.study.showing.table import EVERYWHERE, REPORT, Column, Table, column
from schedules.search import Estimate


def present(results: Results) -> Findings:
    """The errors, a table for each comparison and share of flipped labels, and what became of the claims."""
    config, judged = results.config, claims(results)
    tables = [outcomes_table(results, view, flipped) for view in VIEWS for flipped in config.flipped]
    images = drawn(results, figures.minima, figures.radii)
    return Findings(
        f"{config.train_size} of the digits, one hidden layer of {config.width} units, batch"
        f" {config.batch_size}; {config.gradients} gradients or {config.num_steps} steps,"
        f" {config.schedule} schedule",
        f"{tally(judged)} {winners_text(results)}",
        [Part("", [errors_table(results), *tables, *notes(results), *images])],
        judged,
        facts(config, "confidence"),
    )


def ranked(results: Results, view: str, flipped: float) -> list[Outcome]:
    """Every method at its best radius, the least test error first."""
    outcomes = [results.best(method, view, flipped) for method in results.config.compared]
    return sorted(outcomes, key=lambda outcome: np.median(outcome.metrics[ERROR]))


def winners_text(results: Results) -> str:
    found = [
        f"{ranked(results, GRADIENTS, flipped)[0].contestant.method} with {flipped:.0%} of labels flipped"
        for flipped in results.config.flipped
    ]
    return f"Least test error at {GRADIENTS}: {', '.join(found)}."


def errors_table(results: Results) -> Table[str]:
    """A row a method, the least test error at the largest share of flipped labels first."""
    config = results.config

    def error(flipped: float) -> Column[str]:
        return median_column(
            f"test error, %, {flipped:.0%} flipped",
            config.confidence,
            percent_cell,
            **{f"test_error_{flipped:g}": lambda m: results.best(m, GRADIENTS, flipped).metrics[ERROR]},
        )

    methods = [outcome.contestant.method for outcome in ranked(results, GRADIENTS, config.flipped[-1])]
    columns = column("method", method=lambda method: method), *map(error, config.flipped)
    return Table("errors", columns, methods)


def outcomes_table(results: Results, view: str, flipped: float) -> Table[Outcome]:
    """A row a method, the least test error first."""
    confidence, reference = results.config.confidence, results.best(REFERENCE, view, flipped)

    def estimate(heading: str, metric: str, places=EVERYWHERE, cell=None) -> Column[Outcome]:
        return median_column(heading, confidence, cell, places, **{metric: lambda o: o.metrics[metric]})

    def against(outcome: Outcome) -> Estimate | None:
        return None if outcome is reference else change(ERROR, outcome, reference, confidence)

    def median(heading: str, metric: str) -> Column[Outcome]:
        return column(heading, places=REPORT, **{metric: lambda o: float(np.median(o.metrics[metric]))})

    columns = (
        column("method", method=lambda outcome: outcome.contestant.title),
        column("steps", steps=lambda outcome: outcome.contestant.steps, places=REPORT),
        rate_column(lambda outcome: outcome),
        estimate("test error, %", ERROR, cell=percent_cell),
        column(f"difference from {REFERENCE}", difference=against),
        estimate("largest eigenvalue", LARGEST),
        estimate("trace", TRACE, REPORT),
        median("flipped labels learnt", "memorised"),
        median("training loss", "train_loss"),
        estimate("test loss", "test_loss", REPORT),
        estimate("ECE", ECE, REPORT),
        median("ECE by chance", CHANCE_ECE),
    )
    key = f"{view.replace(' ', '_')}_{flipped:g}"
    return Table(key, columns, ranked(results, view, flipped), title=f"{view}, {flipped:.0%} flipped")


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    edges = [outcome.contestant.name for outcome in results.outcomes.values() if not outcome.bracketed]
    return [
        f"Medians of {config.confirm_replicates} fresh seeds with {config.confidence:.0%} intervals,"
        " differences paired by seed, which draws images, flipped labels and weights.",
        f"Every learning rate was tuned with the same {config.tuning_runs} runs by the error on"
        f" {config.validation_size} images with true labels, and so was one for each radius of sam and asam,"
        f" which so had {len(config.radii)} times as many; sa_sam was not tuned: its first rate is"
        f" {FIRST_RATE:g}.",
        "The Hessian is that of the mean loss on the images trained on, with their labels. How flat a network"
        " is that has learnt nothing tells nothing, so of sa_sam no flatness is claimed.",
        "ECE by chance: what a network that is right as often as it says would come to.",
        f"{results.tally}",
        *([f"Best learning rate on the edge of what was tried: {'; '.join(edges)}."] if edges else []),
    ]
