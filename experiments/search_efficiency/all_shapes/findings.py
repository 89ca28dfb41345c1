"""What is told of the searches of all shapes."""

from typing import NamedTuple

import numpy as np

from experiments.search_efficiency.all_shapes import figures
from experiments.search_efficiency.all_shapes.judging import Excesses, difference, ratio
from experiments.search_efficiency.all_shapes.runs import Results
from experiments.study.showing.cells import NONE, change_text, shape_text
from experiments.study.showing.claims import Claim, at_least, at_most, not_above, tally
from experiments.study.showing.findings import Findings, Part, drawn
from experiments.study.showing.table import REPORT, Column, Table, column
from experiments.study.statistics.fractions import fraction_estimate
from schedules.search import Estimate, Scale

NEAR, NEAR_WORSE, ENOUGH = 0.10, 0.18, 0.9  # the claims: of the median search, of so many searches
AIM, AIM_WORSE = 0.05, 0.10
SPREAD, SPREAD_FROM = 0.5, 60  # of the incumbents' 90th percentile, from so many runs on


class AtCheckpoint(NamedTuple):
    """A contestant's searches at a checkpoint."""

    held: Excesses
    place: int


def present(results: Results) -> Findings:
    """A table of contestants, the claims, and what is known of the best curve."""
    claimed, known = claims(results), results.known
    return Findings(
        results.config.setting,
        tally(claimed),
        [
            Part("", [overview(results), *notes(results), *drawn(results, figures.excesses)]),
            Part("Every contestant at every checkpoint", [details(results)]),
        ],
        claimed,
        facts={
            "confidence": results.config.confidence,
            "scale": results.scale.value,
            "versions": results.versions,
            "best_known": {
                "score": known.score,
                "origin": known.origin,
                "family": known.candidate.family.name,
                "params": known.candidate.params,
                "base_lr": known.candidate.base_lr,
            },
            "contestants": details(results),
        },
    )


def claims(results: Results) -> list[Claim]:
    """What the model of curves is expected to show, stated before any run; none where scores are not
    positive, of which fractions mean nothing."""
    if results.scale is not Scale.RELATIVE:
        return []
    return [*nearness_claims(results), *(incumbent_claims(results) if results.incumbents else [])]


def nearness_claims(results: Results) -> list[Claim]:
    """How near to the best known the last choices are claimed to be, and were hoped to be."""
    confidence, default = results.config.confidence, results.default
    subject = f"{default.contestant} after {results.config.runs} runs"
    claimed = []
    for prefix, (bound, worse) in {"": (NEAR, NEAR_WORSE), "aim: ": (AIM, AIM_WORSE)}.items():
        median, statement = default.median(-1, confidence), f"{prefix}median above the best known"
        claimed.append(Claim(statement, subject, median, at_most(bound)))
        fraction, statement = (
            fraction_within(default, worse, confidence),
            f"{prefix}fraction within {worse:.0%}",
        )
        claimed.append(Claim(statement, subject, fraction, at_least(ENOUGH)))
    return claimed


def incumbent_claims(results: Results) -> list[Claim]:
    """How the choices are claimed to stand to those by Optuna, on its luckiest space at every checkpoint."""
    confidence, default = results.config.confidence, results.default
    claimed = []
    for place, runs in enumerate(results.config.checkpoints):
        luckiest, steadiest = results.luckiest(place), results.steadiest(place)
        gap = difference(default, luckiest, place, confidence)
        subject = f"{luckiest.contestant} at {runs}"
        claimed.append(Claim("median less that of Optuna's luckiest", subject, gap, not_above(0)))
        if runs >= SPREAD_FROM:
            spread = ratio(default, steadiest, place, confidence)
            subject = f"{steadiest.contestant} at {runs}"
            claimed.append(
                Claim("90th percentile over that of Optuna's steadiest", subject, spread, at_most(SPREAD))
            )
    return claimed


def fraction_within(held: Excesses, bound: float, confidence: float) -> Estimate:
    """Of the searches whose last choice is so near to the best known."""
    last = held.values[:, -1]
    return fraction_estimate(int(np.sum(last <= bound)), len(last), confidence)


def overview(results: Results) -> Table[Excesses]:
    """A row a contestant, the best at the end first: its median and its 90th percentile."""

    def at(place: int, runs: int) -> Column[Excesses]:
        def text(held: Excesses) -> str:
            return " / ".join(_text(end, results) for end in (held.medians[place], held.worse_ends[place]))

        return column(f"{runs} runs", shown=text)

    rows = sorted(results.excesses.values(), key=lambda held: held.medians[-1])
    columns = (
        column("contestant", shown=lambda held: str(held.contestant)),
        column("searches", shown=lambda held: str(len(held.values))),
        *(at(place, runs) for place, runs in enumerate(results.config.checkpoints)),
    )
    told = f"above the best curve known, {results.scale.unit}, median / 90th percentile"
    return Table("", columns, rows, f"{results.config.setting}: {told}")


def details(results: Results) -> Table[AtCheckpoint]:
    """A row a contestant and checkpoint."""
    config, scale = results.config, results.scale

    def median(row: AtCheckpoint) -> Estimate:
        return row.held.median(row.place, config.confidence)

    def worse(row: AtCheckpoint) -> float:
        return float(row.held.worse_ends[row.place])

    def lead(row: AtCheckpoint) -> Estimate | None:
        """Over the luckiest incumbent; None of that itself."""
        if not results.incumbents or row.held is results.luckiest(row.place):
            return None
        return difference(row.held, results.luckiest(row.place), row.place, config.confidence)

    columns = (
        column("contestant", contestant=lambda row: str(row.held.contestant)),
        column("runs", runs=lambda row: config.checkpoints[row.place]),
        column("searches", searches=lambda row: len(row.held.values)),
        column(
            f"median above the best, {scale.unit}",
            lambda median_excess: change_text(median_excess, scale, 1, sign=""),
            median_excess=median,
        ),
        column(
            f"90th percentile, {scale.unit}",
            lambda percentile_90: _text(percentile_90, results),
            percentile_90=worse,
        ),
        column(
            f"median less that of Optuna's luckiest, {scale.unit}",
            lambda over_luckiest: change_text(over_luckiest, scale, 1),
            over_luckiest=lead,
        ),
        column(excesses=lambda row: row.held.values[:, row.place]),
    )
    rows = [
        AtCheckpoint(held, place)
        for held in results.excesses.values()
        for place in range(len(config.checkpoints))
    ]
    return Table("", columns, rows, places=REPORT)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, known = results.config, results.known
    candidate = known.candidate
    asked = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return [
        f"Best known: {known.score:.4g}, {candidate.family.name} {shape_text(candidate.params)} at"
        f" {candidate.base_lr:.3g}, from {known.origin}; the median over {config.truth_replicates:,} fresh"
        " seeds.",
        f"The search of {config.known_runs:,} runs: {results.verdict}.",
        f"All ask for {config.batch} candidates at a time, whose runs have one seed each. A choice is judged"
        f" by the median over {config.fresh_replicates} fresh seeds, the same for all choices.",
        *([f"The incumbents: {asked}."] if asked else []),
        str(results.tally),
    ]


def _text(excess: float, results: Results) -> str:
    return results.scale.text(float(excess), 1).removesuffix("%") if np.isfinite(excess) else NONE
