"""What is told of transfer: the law of the best rate, what it says of sizes it has not seen, and what is lost
by what was found elsewhere."""

import math
from collections.abc import Iterator
from operator import attrgetter

from experiments.study.showing.cells import as_text, change_cell, rate_text
from experiments.study.showing.claims import Claim, at_least, at_most, exactly, holds, tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import naming_notes
from experiments.study.showing.table import REPORT, Column, Table, column
from experiments.transfer import figures
from experiments.transfer.config import Config, Contestant, Size
from experiments.transfer.law import RateFit
from experiments.transfer.runs import Results
from experiments.transfer.transfers import BOTH, LAW, RATE, SHAPE, UNCHANGED, Transfer, best_shape
from schedules.search import Estimate, median_estimate

SHARE = 0.8  # of the left-out sizes, at least


def present(results: Results) -> Findings:
    """The laws, the transfers, and what every shape came to at every size."""
    config, judged = results.config, list(claims(results))
    images = drawn(results, figures.laws, figures.predictions, figures.costs)
    tables = largest_table(results), transfer_table(results)
    return Findings(
        f"{config.workload_text}, {config.optimizer}, sizes around {config.central}, the largest"
        f" {config.largest}",
        f"{verdict(results)} {tally(judged)}",
        [
            Part("", [law_table(results), *tables, *notes(results), *images]),
            Part("The best learning rate", [rate_table(results)]),
            Part("The best shape", [shape_table(results)]),
        ],
        judged,
        facts(config, "workload", "metric", "confidence", "tolerance", scale=results.scale.value),
    )


def claims(results: Results) -> Iterator[Claim]:
    """That laws predict, and that what is found elsewhere costs no more than the tolerance."""
    config, noun = results.config, results.scale.noun
    for family, fit in results.fits.items():
        if fit.left_out:
            share = exactly(fit.held / len(fit.left_out))
            yield Claim("share of left-out best rates in the law's interval", family, share, at_least(SHARE))
    for family, fit in results.fits.items():
        yield Claim(
            "the law's rate over the best at the largest size", family, over_best(fit, config), holds(1)
        )
    for family, costs in results.extrapolated.items():
        for name, change in costs.items():
            statement = f"{noun} by {name} at the largest size"
            yield Claim(statement, family, change, at_most(config.tolerance))
    for name in (BOTH, SHAPE, RATE):
        for transfer in results.transfers:
            statement = f"{noun} by what was found at a smaller size: {name}"
            yield Claim(statement, str(transfer.pair), transfer.costs[name], at_most(config.tolerance))


def over_best(fit: RateFit, config: Config) -> Estimate:
    """What is predicted at the largest size over the best rate there."""
    return Estimate(*(end / fit.optima[config.largest].rate for end in fit.predicted[config.largest]))


def verdict(results: Results) -> str:
    """How often the laws held, in a sentence."""
    config, fits = results.config, results.fits.values()
    held, tested = sum(fit.held for fit in fits), sum(len(fit.left_out) for fit in fits)
    largest = sum(fit.holds(config.largest) for fit in fits)
    return (
        f"The law's {config.confidence:.0%} interval holds the best rate of {held} of {tested} left-out"
        f" sizes, and of {largest} of {len(fits)} shapes at the largest."
    )


def law_table(results: Results) -> Table[str]:
    """A row a shape: the exponents of its law, and how often that held."""
    config, fits = results.config, results.fits

    def exponent(place: int, axis: str) -> Column[str]:
        return column(
            f"exponent of {axis}",
            **{axis: lambda family: fits[family].law.exponents(config.confidence)[place]},
        )

    columns = (
        column("shape", family=lambda family: family),
        *(exponent(place, axis) for place, axis in enumerate(config.axes)),
        column(
            "deviation",
            "{deviation:.0%}".format,
            deviation=lambda family: math.expm1(fits[family].law.deviation),
        ),
        column(
            "left-out sizes held",
            "{held} of {tested}".format,
            held=lambda family: fits[family].held,
            tested=lambda family: len(fits[family].left_out),
        ),
    )
    return Table("laws", columns, list(fits))


def largest_table(results: Results) -> Table[str]:
    """A row a shape: the rate that its law predicts at the largest size, the best, and what others cost."""
    largest, fits, unit = results.config.largest, results.fits, results.scale.unit

    def cost(name: str, key: str) -> Column[str]:
        change = {key: lambda family: results.extrapolated[family][name]}
        return column(f"{name}, {unit}", change_cell(results.scale), **change)

    columns = (
        column("shape", family=lambda family: family),
        column("predicted rate", predicted=lambda family: fits[family].predicted[largest]),
        column(
            "best rate",
            lambda rate, censored: rate_text(rate, not censored),
            rate=lambda family: fits[family].optima[largest].rate,
            censored=lambda family: fits[family].optima[largest].censored,
        ),
        column("held", held=lambda family: fits[family].holds(largest)),
        cost(LAW, "by_the_law"),
        cost(UNCHANGED, "unchanged"),
    )
    return Table("largest", columns, list(fits), title=f"At {largest}")


def transfer_table(results: Results) -> Table[Transfer]:
    """A row a smaller size and an axis."""
    unit, cell = results.scale.unit, change_cell(results.scale)

    def carried(heading: str, key: str) -> Column[Transfer]:
        return column(f"{heading}, {unit}", cell, **{key: lambda transfer: transfer.costs[heading]})

    columns = (
        column("found at", shown=lambda transfer: str(transfer.pair), pair=lambda transfer: transfer.pair),
        column("best shape", best=lambda transfer: transfer.best),
        carried(BOTH, "both"),
        carried(SHAPE, "shape"),
        carried(RATE, "rate"),
    )
    return Table("transfers", columns, results.transfers, title="Used at the largest of the axis")


def rate_table(results: Results) -> Table[Size]:
    """A row a size: every shape's best rate, and what the law of the others predicts."""
    fits = results.fits

    def rate(family: str) -> Column[Size]:
        def text(size: Size) -> str:
            found = fits[family].optima[size]
            return f"{rate_text(found.rate, not found.censored)}; {as_text(fits[family].predicted[size])}"

        return column(f"{family}; predicted", shown=text)

    columns = (
        column("size", shown=str, **{name: attrgetter(name) for name in Size._fields}),
        *map(rate, fits),
        column(optima=lambda size: {family: fit.optima[size] for family, fit in fits.items()}),
        column(predicted=lambda size: {family: fit.predicted[size] for family, fit in fits.items()}),
    )
    return Table("rates", columns, results.config.sizes, places=REPORT)


def shape_table(results: Results) -> Table[Size]:
    """A row a size: the best shape, and what every one comes to at its best rate."""
    config = results.config

    def score(size: Size, family: str) -> Estimate:
        return median_estimate(results.tuned[Contestant(family, size)].scores, config.confidence)

    def of_shape(family: str) -> Column[Size]:
        return column(family, shown=lambda size: as_text(score(size, family)))

    columns = (
        column("size", shown=str, **{name: attrgetter(name) for name in Size._fields}),
        column("best", best=lambda size: best_shape(size, results.tuned).family),
        *map(of_shape, config.families),
        column(scores=lambda size: {family: score(size, family) for family in config.families}),
    )
    return Table("shapes", columns, config.sizes, places=REPORT)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    censored = [
        f"{family} at {size}"
        for family, fit in results.fits.items()
        for size, found in fit.optima.items()
        if found.censored
    ]
    return [
        f"The law, η ∝ {' · '.join(f'{axis}^a' for axis in config.axes)}, is fitted to all sizes but the"
        " largest; what it says of one of them is said by the law of the others. Its intervals are"
        f" Student's, at {config.confidence:.0%}, of what would be measured.",
        f"Every shape's rate was tuned at every size with {config.tuning_runs} runs; costs are medians of"
        f" {config.confirm_replicates} fresh seeds, paired, against what was tuned there.",
        f"{results.tally}",
        *naming_notes({"Best rate at the edge of what was tried, left out of the law": censored}, "; "),
    ]
