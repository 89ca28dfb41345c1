"""What is told of best schedules."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from experiments.optimal_schedule import figures
from experiments.optimal_schedule.config import MEAN_FIELD, VARIED
from experiments.optimal_schedule.gaps import (
    Losses,
    Member,
    Outcome,
    relative_begin,
    relative_end,
)
from experiments.optimal_schedule.runs import Results
from experiments.study.showing.cells import as_text, percent_cell, shape_text
from experiments.study.showing.claims import Bound, Claim, above, below
from experiments.study.showing.findings import Findings, Part, drawn
from experiments.study.showing.table import EVERYWHERE, REPORT, Column, Place, Table, column
from schedules.descent import MINIMISERS
from schedules.search import Estimate, median_estimate

AGREEMENT = 0.01  # how far the minimisers' best losses may lie apart
DECEIVED = 1.0  # the mean field is called deceived where the truth is twice its promise


def present(results: Results) -> Findings:
    """Every setting's best schedule, the claims, and every family in every setting."""
    config, (base, *others) = results.config, results.outcomes
    images = drawn(results, figures.gaps, figures.schedules, figures.mean_field)
    # a terminal has room for the base setting's
    families = [families_table(base), *(families_table(outcome, REPORT) for outcome in others)]
    return Findings(
        f"linear regression, D = {config.dimension}; base: {base.setting.text}",
        verdict(results),
        [
            Part("", [settings_table(results), *notes(results), *images]),
            Part("Every family's best and its projection on the best found", families),
        ],
        claims(results.outcomes, config.confidence),
        {"workload": "linear_regression", "confidence": config.confidence},
    )


def verdict(results: Results) -> str:
    """How many best members of families are worse for sure, and how near the nearest one is."""
    base = results.outcomes[0]
    members = [member for outcome in results.outcomes for member in outcome.fits.values()]
    below_members = sum(member.gap.low > 0 for member in members)
    value, low, high = (100 * end for end in base.nearest.gap)
    return (
        f"The best schedule found is distinguishably below {below_members} of {len(members)} best members of"
        f" families; in the base setting the nearest is {base.nearest_family}, {value:.2g} % above"
        f" (interval {low:.2g} to {high:.2g} %)."
    )


def claims(outcomes: Sequence[Outcome], confidence: float) -> list[Claim]:
    """All claims, setting by setting."""
    return [claim for outcome in outcomes for claim in setting_claims(outcome, confidence)]


def setting_claims(outcome: Outcome, confidence: float) -> list[Claim]:
    """Those about a setting."""
    other = outcome.gap(outcome.other, confidence)
    claimed = [
        ("gap of the nearest family to the best found", outcome.nearest.gap, above(0)),
        ("the same in the median", outcome.nearest_median_gap, above(0)),
        ("gap of the other minimiser's best to the best found", other, agreement(outcome)),
        ("last tenth over the median rate", outcome.feature(relative_end), below(1)),
        ("first rate over the median rate", outcome.feature(relative_begin), below(1)),
    ]
    if MEAN_FIELD in outcome.schedules:
        gap, broken = outcome.gap(MEAN_FIELD, confidence), outcome.broken_promise(confidence)
        claimed += [
            ("gap of the mean field's choice to the best found", gap, above(0)),
            ("loss of the mean field's choice over its promise - 1", broken, above(DECEIVED)),
        ]
    return [Claim(statement, outcome.setting.label, effect, bound) for statement, effect, bound in claimed]


def agreement(outcome: Outcome) -> Bound:
    """Of the minimisers, in the losses that were minimised too."""
    trained = outcome.schedules[outcome.other].loss / outcome.best_found.loss - 1

    def agree(fresh: Estimate) -> bool:
        return max(trained, abs(fresh.low), abs(fresh.high)) <= AGREEMENT

    return Bound(f"within {AGREEMENT:g}", agree)


def settings_table(results: Results) -> Table[Outcome]:
    """A row a setting, and all that was found in it in winners.json."""
    confidence = results.config.confidence

    def setting_value(name: str, outcome: Outcome) -> float:
        return getattr(outcome.setting, name)

    def minimised(name: str) -> Column[Outcome]:
        return column(f"{name}'s", shown=lambda outcome: f"{outcome.schedules[name].loss:.4g}")

    def certified(heading: str, told: Callable[[Losses], str]) -> Column[Outcome]:
        return column(heading, shown=lambda outcome: told(outcome.fresh[outcome.best]))

    columns = (
        column("setting", label=lambda outcome: outcome.setting.label),
        column(**{name: partial(setting_value, name) for name in ("number", *VARIED)}),
        column("best by", best_found=lambda outcome: outcome.best),
        *map(minimised, MINIMISERS),
        column("within 1 %", shown=lambda outcome: f"{len(outcome.near)}/{len(outcome.descents)}"),
        certified("fresh median, interval", lambda losses: as_text(median_estimate(losses, confidence))),
        certified("geometric", lambda losses: as_text(stats.gmean(losses))),
        certified("mean", lambda losses: as_text(float(np.mean(losses)))),
        column("nearest", shown=lambda outcome: outcome.nearest_family),
        column("its gap, %", shown=lambda outcome: percent_cell(gap=outcome.nearest.gap)),
        column(schedules=lambda outcome: schedules_table(outcome, confidence)),
        column(families=families_table, projections=projections),
    )
    return Table("settings", columns, results.outcomes)


def schedules_table(outcome: Outcome, confidence: float) -> Table[str]:
    """A row a certified schedule, for winners.json."""

    columns = (
        column(schedule=str),
        column(minimised=lambda name: outcome.schedules[name].loss),
        column(median=lambda name: median_estimate(outcome.fresh[name], confidence)),
        column(geometric_mean=lambda name: stats.gmean(outcome.fresh[name])),
        column(mean=lambda name: np.mean(outcome.fresh[name])),
        column(learning_rates=lambda name: outcome.schedules[name].learning_rates),
    )
    return Table("", columns, list(outcome.schedules))


def families_table(outcome: Outcome, places: tuple[Place, ...] = EVERYWHERE) -> Table[str]:
    """A row a family, nearest first."""

    def best(name: str) -> Member:
        return outcome.fits[name]

    columns = (
        column("family", family=str),
        # in the report alone: a terminal has no room for it
        column("best shape", shape_text, places=REPORT, params=lambda name: best(name).params),
        column("base LR", base_lr=lambda name: best(name).base_lr),
        column("gap, %", percent_cell, gap=lambda name: best(name).gap),
        column("median gap, %", percent_cell, median_gap=lambda name: best(name).median_gap),
        column("projected: distance", shown=lambda name: f"{outcome.distance(name):.3f}"),
        column("gap, %", shown=lambda name: percent_cell(gap=outcome.projections[name].gap)),
    )
    nearest_first = sorted(outcome.fits, key=lambda name: best(name).gap.value)
    return Table("", columns, nearest_first, outcome.setting.label, places, by_name=True)


def projections(outcome: Outcome) -> Mapping[str, Mapping[str, Any]]:
    """By family, its projection on the best found, for winners.json."""
    return {
        name: {**member._asdict(), "distance": outcome.distance(name)}
        for name, member in outcome.projections.items()
    }


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    return [
        f"Minimised: the geometric mean of the exact loss over {config.training_kernels} kernels. Reported:"
        f" {config.fresh_kernels} fresh ones. A gap is the loss over the best found's on the same kernel,"
        f" less 1, as geometric mean over them or as median, with a {config.confidence:.0%} interval.",
        "Where the mean is far above the median it is that of a few kernels, whose leading eigenvectors lie"
        " near a coordinate axis: schedules that are good for the others diverge on them. The median does not"
        " know these kernels, and rewards bolder schedules than what was minimised does.",
        "Best found is the lowest of all starts and both minimisers; a lower minimum may exist.",
        f"{results.seconds:.0f} s of descents and certification.",
    ]
