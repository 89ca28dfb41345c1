"""What is told of calibration: by γ of the focal loss, and by losses over environments."""

from collections.abc import Callable

import numpy as np

from experiments.focal import figures
from experiments.focal.claims import chosen, claims, worst_ece
from experiments.focal.config import Focal, Invariant
from experiments.focal.objectives import BOTTLENECK
from experiments.focal.runs import SHARPNESS, Contestant, Results
from experiments.study.showing.claims import tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import median_column, rate_column
from experiments.study.showing.table import Column, Table, column
from experiments.study.training.cross_validation import of_condition
from experiments.study.training.tasks import DIGITS, IN_DISTRIBUTION, SHIFTED
from schedules.search import Estimate


def present(results: Results) -> Findings:
    """Both tables, and what became of the claims."""
    config, judged = results.config, claims(results)
    tables = focal_table(results), sharpness_table(results), error_table(results), calibration_table(results)
    images = drawn(results, figures.focal, figures.environments)
    return Findings(
        f"All 1,797 digits in three folds; a hidden layer of {config.hidden} units, Adam, batch"
        f" {config.batch_size}, {config.num_steps} steps, {config.schedule} schedule.",
        tally(judged),
        [Part("", [*tables, *notes(results), *images])],
        judged,
        facts(config, "metric", "confidence"),
    )


def focal_table(results: Results) -> Table[Focal]:
    """A row a γ: its errors and calibration."""
    columns = (
        column("γ", gamma=lambda contestant: contestant.gamma),
        rate_column(lambda contestant: results.outcomes[contestant].tuned),
        _error("error", IN_DISTRIBUTION, results),
        _error("shifted error", SHIFTED, results),
        _ece("ECE (chance)", "ece", DIGITS.trained, results),
        _ece("shifted ECE (chance)", "shifted_ece", DIGITS.shifted, results),
    )
    return Table("focal", columns, results.config.focal)


def sharpness_table(results: Results) -> Table[Focal]:
    """A row a γ: the sharpness of its loss, and of the cross-entropy."""
    confidence = results.config.confidence

    def sharpness(name: str) -> Column[Focal]:
        return median_column(name, confidence, **{name: lambda c: results.outcomes[c].metrics[name]})

    columns = column("γ", gamma=lambda contestant: contestant.gamma), *map(sharpness, SHARPNESS)
    return Table("sharpness", columns, results.config.focal, title="The focal loss: sharpness")


def error_table(results: Results) -> Table[Invariant]:
    """A row a loss over environments: its error in each, * at the weight by validation."""
    errors = [_error(condition, condition, results) for condition in results.config.coloured.conditions]
    title = "Losses over environments: errors by the share of flipped colours"
    columns = *_name(results), rate_column(lambda contestant: results.outcomes[contestant].tuned), *errors
    return Table("environments", columns, results.config.invariant, title=title)


def calibration_table(results: Results) -> Table[Invariant]:
    """The same rows: the calibration in each environment, and in the worst."""
    calibrations = [
        _ece(condition, condition, (condition,), results) for condition in results.config.coloured.conditions
    ]
    columns = (
        *_name(results),
        *calibrations,
        median_column("worst ECE", results.config.confidence, worst_ece=lambda c: worst_ece(c, results)),
    )
    title = "Losses over environments: ECE (chance) by the share of flipped colours"
    return Table("calibration", columns, results.config.invariant, title=title)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    return [
        f"Every loss was tuned with {config.tuning_runs} runs over learning rates, by the cross-entropy of"
        f" {config.validation_size} images as in training; told are {config.confirm_replicates} fresh"
        " runs, each of which leaves out one of three folds. Errors are those of all runs together, with"
        f" {config.confidence:.0%} intervals from resampled clusters of images, all copies of one together;"
        " other values are medians over runs, in brackets the ECE that chance makes of a calibrated model.",
        f"Sharpness is that of the mean training loss; traces are estimated with {config.probes} probes.",
        f"The number behind a method is the weight of its penalty, and group_dro's step size; ib_irm has"
        f" {BOTTLENECK:g} times the variance of the logits beside it. * the weight of the least validation"
        " loss.",
        f"{results.tally}",
    ]


def _name(results: Results) -> tuple[Column[Invariant], Column[Invariant]]:
    best = chosen(results)

    def marked(contestant: Invariant) -> str:
        return contestant.name + " *" * (best[contestant.method] == contestant)

    return (
        column("loss", shown=marked, loss=lambda contestant: contestant.name),
        column(chosen=lambda contestant: best[contestant.method] == contestant),
    )


def _error(heading: str, place: str, results: Results) -> Column[Contestant]:
    def estimate(contestant: Contestant) -> Estimate:
        return results.outcomes[contestant].errors[place].estimate(results.config.confidence)

    return column(heading, **{f"error {place}".replace(" ", "_"): estimate})


def _ece(heading: str, name: str, conditions: tuple[str, ...], results: Results) -> Column[Contestant]:
    """The mean over these conditions, the median over runs, with that of chance."""

    def mean(metric: str) -> Callable[[Contestant], float]:
        return lambda contestant: float(
            np.median(
                np.mean(
                    [
                        results.outcomes[contestant].metrics[of_condition(metric, condition)]
                        for condition in conditions
                    ],
                    axis=0,
                )
            )
        )

    return column(
        heading,
        lambda **values: "{:.3f} ({:.3f})".format(*values.values()),
        **{name: mean("ece"), f"chance_{name}": mean("chance_ece")},
    )
