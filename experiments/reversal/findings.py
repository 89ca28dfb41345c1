"""What is told of reversals: how many there are, what they cost, and between which shapes."""

import itertools
from typing import NamedTuple

from experiments.reversal import figures
from experiments.reversal.config import REFERENCE
from experiments.reversal.orders import FIRST, REFERENCES, Orders, Share, choice, orders
from experiments.reversal.runs import Results
from experiments.study.showing.cells import change_cell
from experiments.study.showing.claims import Claim, at_most, exactly, tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import median_column, naming_notes, rate_column
from experiments.study.showing.table import REPORT, Table, column
from experiments.study.training.tuning import Tuned
from schedules.search import Estimate

RATES = (FIRST, REFERENCES)


class Kind(NamedTuple):
    """An optimizer, and whose best rate the shapes that are not retuned have."""

    optimizer: str
    rate_of: str


class Entry(NamedTuple):
    """A shape with an optimizer."""

    optimizer: str
    family: str


class Reversal(NamedTuple):
    """A sure one, of a kind."""

    kind: Kind
    orders: Orders


def present(results: Results) -> Findings:
    """The shares of reversals, what they cost, and every shape."""
    config, found = results.config, reversals(results)
    shares = {kind: Share.of(compared) for kind, compared in found.items()}
    judged = claims(shares, config.confidence)
    images = drawn(results, figures.orders, figures.curves)
    return Findings(
        f"{config.workload_text}, batch {config.batch_size}, {config.num_steps} steps, the usual shapes of"
        f" {len(config.compared)} families",
        f"{verdict(shares)} {tally(judged)}",
        [
            Part("", [share_table(shares), choice_table(results), *notes(results), *images]),
            Part("Every shape", [shape_table(results)]),
            Part("Sure reversals", [reversal_table(found, results)]),
        ],
        judged,
        facts(config, "workload", "metric", "confidence", scale=results.scale.value),
    )


def reversals(results: Results) -> dict[Kind, list[Orders]]:
    """Every pair compared, by kind."""
    return {
        Kind(optimizer, rate_of): orders(contest, rate_of)
        for (optimizer, contest), rate_of in itertools.product(results.contests.items(), RATES)
    }


def claims(shares: dict[Kind, Share], confidence: float) -> list[Claim]:
    """That an order which is sure may be found without retuning, but for as many as intervals err."""
    bound = at_most(round(1 - confidence, 6))
    return [
        Claim(
            "share of sure orders that surely reverse",
            f"{kind.optimizer}, at {kind.rate_of} rate",
            exactly(share.value),
            bound,
        )
        for kind, share in shares.items()
    ]


def verdict(shares: dict[Kind, Share]) -> str:
    """The share of all optimizers together, in a sentence."""

    def told(rate_of: str) -> str:
        chosen = [share for kind, share in shares.items() if kind.rate_of == rate_of]
        reversals, orders = sum(share.surely for share in chosen), sum(share.sure for share in chosen)
        return f"{reversals} of {orders} at {rate_of}"

    return f"Sure orders that surely reverse without retuning: {', '.join(map(told, RATES))} rate."


def share_table(shares: dict[Kind, Share]) -> Table[Kind]:
    """A row an optimizer and a rate."""
    columns = (
        column("optimizer", optimizer=lambda kind: kind.optimizer),
        column("both at", rate_of=lambda kind: kind.rate_of),
        column("pairs", compared=lambda kind: shares[kind].compared),
        column("sure orders", sure=lambda kind: shares[kind].sure),
        column("surely reversed", surely_reversed=lambda kind: shares[kind].surely),
        column("share", "{share:.1%}".format, share=lambda kind: shares[kind].value),
        column("medians reversed", nominally_reversed=lambda kind: shares[kind].nominally),
        column(
            "share of all",
            "{nominal_share:.1%}".format,
            nominal_share=lambda kind: shares[kind].nominally / shares[kind].compared,
        ),
    )
    return Table("shares", columns, list(shares))


def choice_table(results: Results) -> Table[str]:
    """A row an optimizer: which shape is best at its own rate and at the reference's, and what the second
    choice costs."""
    scale, chosen = results.scale, {name: choice(contest) for name, contest in results.contests.items()}
    columns = (
        column("optimizer", optimizer=lambda name: name),
        column(
            "best rates",
            "{lowest_rate:.3g} to {highest_rate:.3g}".format,
            lowest_rate=lambda name: chosen[name].lowest_rate,
            highest_rate=lambda name: chosen[name].highest_rate,
        ),
        column("best shape", best=lambda name: chosen[name].retuned),
        column(f"best at {REFERENCES} rate", best_untuned=lambda name: chosen[name].untuned),
        column(f"there, {scale.unit}", change_cell(scale), cost=lambda name: chosen[name].cost),
    )
    return Table("choices", columns, list(chosen), title="What does a choice without retuning cost?")


def shape_table(results: Results) -> Table[Entry]:
    """A row a shape with an optimizer, the best first."""
    config, unit, cell = results.config, results.scale.unit, change_cell(results.scale)
    contests = results.contests
    entries = [Entry(name, family) for name, contest in contests.items() for family in contest.ranked()]

    def tuned(entry: Entry) -> Tuned:
        return contests[entry.optimizer].tuned[entry.family]

    def change(entry: Entry) -> Estimate:
        return contests[entry.optimizer].change(entry.family, REFERENCE)

    def untuned_change(entry: Entry) -> Estimate:
        contest = contests[entry.optimizer]
        return contest.change(entry.family, REFERENCE, contest.best(REFERENCE))

    columns = (
        column("optimizer", optimizer=lambda entry: entry.optimizer),
        column("shape", family=lambda entry: entry.family),
        rate_column(tuned),
        median_column(f"{config.metric}, interval", config.confidence, score=lambda e: tuned(e).scores),
        column(f"vs {REFERENCE}, {unit}", cell, change=change),
        column(f"at {REFERENCES} rate, {unit}", cell, untuned_change=untuned_change),
    )
    return Table("shapes", columns, entries, places=REPORT)


def reversal_table(found: dict[Kind, list[Orders]], results: Results) -> Table[Reversal]:
    """A row a sure reversal."""
    unit, cell = results.scale.unit, change_cell(results.scale)
    rows = [
        Reversal(kind, compared)
        for kind, pairs in found.items()
        for compared in pairs
        if compared.surely_reversed
    ]
    columns = (
        column("optimizer", optimizer=lambda row: row.kind.optimizer),
        column("both at", rate_of=lambda row: row.kind.rate_of),
        column("first", first=lambda row: row.orders.families[0]),
        column("second", second=lambda row: row.orders.families[1]),
        column(f"second, retuned, {unit}", cell, retuned=lambda row: row.orders.retuned),
        column(f"at one rate, {unit}", cell, untuned=lambda row: row.orders.untuned),
    )
    return Table("reversals", columns, rows, places=REPORT)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    edge = [
        f"{optimizer} {family}"
        for optimizer, contest in results.contests.items()
        for family, tuned in contest.tuned.items()
        if not tuned.bracketed
    ]
    return [
        f"Every shape's rate was tuned with the same {config.tuning_runs} runs; then all were trained at"
        f" every rate that is the best of one, with {config.confirm_replicates} fresh seeds. An order is"
        f" sure where the {config.confidence:.0%} interval of the change, paired by seed, does not hold 0;"
        " it surely reverses where both orders are sure.",
        f"{results.tally}",
        *naming_notes({"Best learning rate not bracketed (on the edge of what was tried)": edge}),
    ]
