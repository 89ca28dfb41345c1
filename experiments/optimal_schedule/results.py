"""What a study of best schedules found: its tables, and winners.json."""

from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from experiments.optimal_schedule.claims import schedule_claims
from experiments.optimal_schedule.config import Config
from experiments.optimal_schedule.outcome import Member, Outcome, geometric_mean, read_outcome
from experiments.study.showing.old_claims import CLAIM_HEADINGS, Claim, claim_rows, claims_json, summary
from experiments.study.showing.tables import (
    estimate_json,
    estimate_text,
    finite_or_none,
    shape_text,
    show_table,
)
from experiments.study.storage.folder import StudyFolder
from experiments.study.storage.journal import Journal
from schedules.descent import MINIMISERS
from schedules.search import Estimate, median_estimate

SETTING_HEADINGS = (
    "setting",
    "best by",
    *(f"{name}'s" for name in MINIMISERS),
    "within 1 %",
    "fresh median, interval",
    "geometric",
    "mean",
    "nearest",
    "its gap, %",
)
FAMILY_HEADINGS = (
    "family",
    "best shape",
    "base LR",
    "gap, %",
    "median gap, %",
    "projected: distance",
    "gap, %",
)


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was sought.
      outcomes: by setting, the base setting first.
      claims: with what was measured.
      seconds: how long the runs took together.
    """

    config: Config
    outcomes: tuple[Outcome, ...]
    claims: tuple[Claim, ...]
    seconds: float

    @property
    def title(self) -> str:
        base = self.outcomes[0].setting
        return f"linear regression, D = {self.config.dimension}; base: {base.text}"

    @property
    def verdict(self) -> str:
        outcome = self.outcomes[0]
        below = sum(member.gap.low > 0 for o in self.outcomes for member in o.fits.values())
        fits = len(self.outcomes) * len(self.config.families)
        nearest = outcome.fits[outcome.nearest_family].gap
        return (
            f"The best schedule found is distinguishably below {below} of {fits} best members of families;"
            f" in the base setting the nearest is {outcome.nearest_family}, {100 * nearest.value:.2g} % above"
            f" (interval {100 * nearest.low:.2g} to {100 * nearest.high:.2g} %)."
        )


def collect(config: Config, journal: Journal) -> Results:
    """Read what the journal holds and judge the claims."""
    outcomes = tuple(read_outcome(journal, setting, config) for setting in config.settings)
    return Results(config, outcomes, schedule_claims(outcomes, config.confidence), journal.seconds())


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the tables, the claims, the verdict, and where everything is."""
    show_table(
        console,
        results.title,
        SETTING_HEADINGS,
        setting_rows(results),
        (),
        (),
    )
    base = results.outcomes[0]
    shape = FAMILY_HEADINGS.index("best shape")  # in the report alone: a terminal has no room for it
    headings, *rows = ((*row[:shape], *row[shape + 1 :]) for row in (FAMILY_HEADINGS, *family_rows(base)))
    show_table(console, "base", headings, rows, (), ())
    show_table(
        console,
        "claims",
        CLAIM_HEADINGS,
        claim_rows(results.claims),
        (*summary(results.claims), results.verdict, *notes(results)),
        (folder.report, folder.winners),
        wrapped=(0, 1),
    )


def setting_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `SETTING_HEADINGS`."""
    return [_setting_row(outcome, results.config.confidence) for outcome in results.outcomes]


def _setting_row(outcome: Outcome, confidence: float) -> tuple[str, ...]:
    fresh = outcome.fresh[outcome.best]
    median = median_estimate(fresh, confidence)
    near = sum(loss <= 1.01 * outcome.best_found.loss for loss, _ in outcome.descents)
    return (
        outcome.setting.label,
        outcome.best,
        *(f"{outcome.schedules[name].loss:.4g}" for name in MINIMISERS),
        f"{near}/{len(outcome.descents)}",
        estimate_text(median),
        f"{geometric_mean(fresh):.3g}",
        f"{np.mean(fresh):.3g}",
        outcome.nearest_family,
        per_cent(outcome.fits[outcome.nearest_family].gap),
    )


def family_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """The cells under `FAMILY_HEADINGS`, nearest first."""
    ranked = sorted(outcome.fits, key=lambda name: outcome.fits[name].gap.value)
    return [_family_row(name, outcome) for name in ranked]


def _family_row(family: str, outcome: Outcome) -> tuple[str, ...]:
    fit = outcome.fits[family]
    return (
        family,
        shape_text(fit.params),
        f"{fit.base_lr:.3g}",
        per_cent(fit.gap),
        per_cent(fit.median_gap),
        f"{outcome.distance(family):.3f}",
        per_cent(outcome.projections[family].gap),
    )


def per_cent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.3g} [{100 * estimate.low:.3g}, {100 * estimate.high:.3g}]"


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


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json: the claims, then every setting's schedules."""
    return {
        "workload": "linear_regression",
        "confidence": results.config.confidence,
        "verdict": results.verdict,
        "claims": claims_json(results.claims),
        "settings": [_outcome_json(outcome, results.config.confidence) for outcome in results.outcomes],
    }


def _outcome_json(outcome: Outcome, confidence: float) -> dict[str, Any]:
    return {
        **outcome.setting._asdict(),
        "best_found": outcome.best,
        "schedules": [
            {
                "schedule": name,
                "minimised": finite_or_none(found.loss),
                "median": estimate_json(median_estimate(outcome.fresh[name], confidence)),
                "geometric_mean": finite_or_none(geometric_mean(outcome.fresh[name])),
                "mean": finite_or_none(float(np.mean(outcome.fresh[name]))),
                "learning_rates": found.learning_rates.tolist(),
            }
            for name, found in outcome.schedules.items()
        ],
        "families": {name: _member_json(member) for name, member in outcome.fits.items()},
        "projections": {
            name: {**_member_json(member), "distance": outcome.distance(name)}
            for name, member in outcome.projections.items()
        },
    }


def _member_json(member: Member) -> dict[str, Any]:
    return {
        "params": dict(member.params),
        "base_lr": member.base_lr,
        "gap": estimate_json(member.gap),
        "median_gap": estimate_json(member.median_gap),
    }
