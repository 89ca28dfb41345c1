"""What is told of data that moved: the contest on each task, and errors at equal error in distribution."""

import numpy as np

from experiments.shift import figures
from experiments.shift.claims import Fits, claims
from experiments.shift.config import REFERENCE, TASKS, Contestant
from experiments.shift.equal_error import fits, points
from experiments.shift.runs import Results
from experiments.study.showing.claims import tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import rate_column
from experiments.study.showing.table import REPORT, Column, Table, column
from experiments.study.training.cross_validation import of_condition
from experiments.study.training.tasks import IN_DISTRIBUTION, SHIFTED
from schedules.search import Estimate


def present(results: Results) -> Findings:
    """A table of contestants a task, one of optimizers at equal error, and what became of the claims."""
    config, fitted = results.config, {task: fits(task, results) for task in results.config.tasks}
    judged = claims(results, fitted)
    tables = contest_table(results), *(equal_error_table(task, results, fitted) for task in config.tasks)
    images = drawn(results, figures.curves, figures.severities, figures.calibration)
    return Findings(
        f"All 1,797 digits in three folds; a hidden layer of {config.hidden} units, batch"
        f" {config.batch_size}, {config.num_steps} steps; chosen by {config.validation_size} images as in"
        " training.",
        f"{tally(judged)} {winners_text(results)}",
        [
            Part("", [*tables, *notes(results), *images]),
            Part("Every shift", [curve_table(task, fitted) for task in config.tasks]),
        ],
        judged,
        facts(config, "metric", "confidence"),
    )


def winners_text(results: Results) -> str:
    """Who errs least on shifted images, in a sentence."""
    winners = [f"{best_first(task, results)[0].title} on {task}" for task in results.config.tasks]
    return f"Least shifted error: {'; '.join(winners)}."


def best_first(task: str, results: Results) -> list[Contestant]:
    """The contestants of a task, the least shifted error first."""
    chosen = [contestant for contestant in results.outcomes if contestant.task == task]
    return sorted(chosen, key=lambda contestant: results.outcomes[contestant].errors[SHIFTED].values)


def contest_table(results: Results) -> Table[Contestant]:
    """A row a contestant: its errors and calibration in distribution and shifted, of confirming runs."""
    confidence = results.config.confidence
    ranked = {task: best_first(task, results) for task in results.config.tasks}

    def error(contestant: Contestant, place: str) -> Estimate:
        return results.outcomes[contestant].errors[place].estimate(confidence)

    def behind(contestant: Contestant) -> Estimate | None:
        own, least = (results.outcomes[c].errors[SHIFTED] for c in (contestant, ranked[contestant.task][0]))
        return None if own is least else own.lead(least, confidence)

    def calibration(heading: str, name: str, place: str) -> Column[Contestant]:
        def mean(metric: str, contestant: Contestant) -> float:
            medians, conditions = results.outcomes[contestant].medians, getattr(TASKS[contestant.task], place)
            return float(np.mean([medians[of_condition(metric, condition)] for condition in conditions]))

        return column(
            heading,
            lambda **values: "{:.3f} ({:.3f})".format(*values.values()),
            **{
                f"{name}ece": lambda contestant: mean("ece", contestant),
                f"{name}chance_ece": lambda contestant: mean("chance_ece", contestant),
            },
        )

    columns = (
        column("contestant", contestant=lambda contestant: contestant.name),
        rate_column(lambda contestant: results.outcomes[contestant].tuned),
        column("decay", "{decay:g}".format, decay=lambda c: results.outcomes[c].tuned.setting.decay),
        column("error", error=lambda contestant: error(contestant, IN_DISTRIBUTION)),
        column("shifted error", shifted_error=lambda contestant: error(contestant, SHIFTED)),
        column(above_least=behind),
        calibration("ECE (chance)", "", "trained"),
        calibration("shifted", "shifted_", "shifted"),
    )
    return Table("contest", columns, [contestant for group in ranked.values() for contestant in group])


def equal_error_table(task: str, results: Results, fitted: Fits) -> Table[str]:
    """A row an optimizer: by how much its shifted error is above the reference's, of each kind of shift."""
    by_shift = fitted[task]

    def excess(kind: str) -> Column[str]:
        def from_reference(optimizer: str) -> Estimate | None:
            fit = by_shift[kind]
            known = optimizer != REFERENCE and REFERENCE in fit.optimizers
            return fit.excess([optimizer], [REFERENCE]) if known else None

        return column(kind, **{kind: from_reference})

    rows = by_shift[next(iter(TASKS[task].shifts))].optimizers
    return Table(
        f"equal_error_{task}",
        (column("optimizer", optimizer=lambda name: name), *map(excess, TASKS[task].shifts)),
        rows,
        title=f"{task}: shifted error above {REFERENCE}'s, at equal error in distribution",
    )


def curve_table(task: str, fitted: Fits) -> Table[str]:
    """A row a shift: how shifted accuracy grows with accuracy in distribution."""
    by_shift = fitted[task]
    columns = (
        column("shift", shift=lambda name: name),
        column("curve of accuracy", curve=lambda name: by_shift[name].kind),
        column("curvature", curvature=lambda name: by_shift[name].curvature_estimate),
    )
    return Table(f"curves_{task}", columns, list(by_shift), title=task, places=REPORT)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    counts = ", ".join(f"{len(points(task, results).contestants)} on {task}" for task in config.tasks)
    return [
        f"Every contestant was tuned with {config.tuning_runs} runs:"
        f" {config.first_rates + config.more_rates} learning rates, {len(config.decays)} decays, a run for"
        f" each of {config.screen_replicates} replicates, which leave out one fold after the other; told"
        f" are {config.confirm_replicates} fresh ones at the best setting by {config.metric}. Each image is"
        " tested by runs that have seen no copy of it.",
        f"{config.confidence:.0%} intervals from resampled clusters of images, all copies of an image in one;"
        " differences are paired by image. In brackets, the ECE that chance makes of a calibrated model.",
        f"At equal error: over {counts} settings, those with an error in distribution of at most"
        f" {config.error_range:g} times the least.",
        f"{results.tally}",
    ]
