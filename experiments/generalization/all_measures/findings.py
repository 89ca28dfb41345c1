"""What is told of all measures: how each ranks networks, as trained and shifted."""

import numpy as np

from experiments.generalization.all_measures import figures
from experiments.generalization.all_measures.claims import claims, family_regret
from experiments.generalization.all_measures.networks import ENVIRONMENTS
from experiments.generalization.all_measures.rankings import Ranking
from experiments.generalization.all_measures.runs import Results
from experiments.study.showing.claims import tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.table import REPORT, Column, Table, column
from experiments.study.statistics.agreement import least_gap
from experiments.study.statistics.resampled import percentile_estimate
from geometry.measures import FAMILIES, MEASURES
from schedules.search import Estimate


def present(results: Results) -> Findings:
    """A row a family, a row a measure, and what became of the claims."""
    config, judged = results.config, claims(results)
    widths, depths = (", ".join(map(str, counts)) for counts in (config.widths, config.depths))
    images = drawn(results, figures.rankings, figures.regrets)
    return Findings(
        f"The digits at 4×4 pixels; networks with {depths} hidden layers of {widths} units, trained on"
        f" {config.train_size} images to a loss of {config.target_loss:g} by {', '.join(config.optimizers)}.",
        tally(judged),
        [
            Part("", [family_table(results), *notes(results), *images]),
            Part("Measures", [measure_table(results)]),
        ],
        judged,
        facts(config, "confidence", networks=len(results.reached)),
    )


def family_table(results: Results) -> Table[str]:
    """A row a family: its best measure by Ψ on shifted images, and the mean regret of all of them."""
    shifted = results.rankings[ENVIRONMENTS[1]]

    def best(family: str) -> str:
        return max(FAMILIES[family].measures, key=lambda name: shifted[name].psi.value)

    def regret(family: str, environment: str) -> Estimate:
        return percentile_estimate(
            *family_regret(family, results.rankings[environment]), results.config.confidence
        )

    columns = (
        column("family", family=lambda family: family),
        column("best measure", measure=best, wrapped=True),
        column("its Ψ as trained", psi=lambda family: results.rankings[ENVIRONMENTS[0]][best(family)].psi),
        column("its Ψ shifted", shifted_psi=lambda family: shifted[best(family)].psi),
        column("mean regret as trained", regret=lambda family: regret(family, ENVIRONMENTS[0])),
        column("mean regret shifted", shifted_regret=lambda family: regret(family, ENVIRONMENTS[1])),
    )
    ranked = sorted(results.config.families, key=lambda family: -shifted[best(family)].psi.value)
    return Table("families", columns, ranked)


def measure_table(results: Results) -> Table[str]:
    """A row a measure, the highest Ψ on shifted images first."""
    shifted = results.rankings[ENVIRONMENTS[1]]

    def ranked(environment: str, name: str) -> list[Column[str]]:
        def ranking(measure: str) -> Ranking:
            return results.rankings[environment][measure]

        def worst(measure: str) -> dict[str, float | str] | None:
            found = ranking(measure).worst
            return found and {"sign_error": found[0], **found[1]._asdict()}

        return [
            column(f"τ {environment}", **{f"{name}tau": lambda m: ranking(m).tau}),
            column(f"Ψ {environment}", **{f"{name}psi": lambda m: ranking(m).psi}),
            column(
                "worst sign error",
                lambda **values: _worst_text(*values.values()),
                **{f"{name}worst": worst},
            ),
            column("hit", **{f"{name}hit": lambda m: ranking(m).hit}),
            column("regret", **{f"{name}regret": lambda m: ranking(m).regret}),
        ]

    columns = (
        column("measure", measure=lambda measure: measure),
        column("", formula=lambda measure: MEASURES[measure].formula, sign=lambda m: MEASURES[m].sign),
        *ranked(ENVIRONMENTS[0], ""),
        *ranked(ENVIRONMENTS[1], "shifted_"),
        column("says nothing of", unranked=lambda measure: shifted[measure].unranked),
    )
    names = sorted(shifted, key=lambda name: -shifted[name].psi.value)
    return Table("measures", columns, names, places=REPORT)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, planned = results.config, results.config.planned_runs
    trained, shifted = (np.median(results.errors[environment].values) for environment in ENVIRONMENTS)
    return [
        f"{len(results.reached):,} of {planned:,} networks reached the training loss of"
        f" {config.target_loss:g}; {planned - len(results.reached):,} did not, and are not ranked. Each is"
        f" tested on the {config.tested:,} images that it has not seen, and on 20 spoilt copies of each: its"
        f" median error is {trained:.3f} and {shifted:.3f}.",
        f"{config.confidence:.0%} intervals from resampled clusters of images. Errors of single networks that"
        f" differ by less than {least_gap(config.tested):.3f} weigh nothing in sign errors; those of the"
        " worst environment are of pairs that differ in one setting alone, from one value to another.",
        "A larger measure is to mean a larger error; where it is infinite or not a number, it ranks last."
        " hit: whether the network that it is least of is in the best fifth; regret: how far its error is"
        " above the least, over the range of all.",
        f"{results.tally}",
    ]


def _worst_text(worst: dict[str, float | str] | None) -> str:
    if worst is None:
        return "–"
    ends = " to ".join(
        end if isinstance(end, str) else f"{end:g}" for end in (worst["lower"], worst["upper"])
    )
    return f"{worst['sign_error']:.2f} ({worst['setting']}: {ends})"
