"""What is told of the efficiency of searches."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.search_efficiency import figures
from experiments.search_efficiency.all_shapes import findings as all_shapes
from experiments.search_efficiency.config import DEFAULT, RANDOM, Landscape, Training
from experiments.search_efficiency.judging import Efficiency
from experiments.search_efficiency.runs import Results
from experiments.search_efficiency.searches import CURVES, Search
from experiments.study.showing.cells import NONE, as_text, change_cell
from experiments.study.showing.claims import Bound, Claim, at_least, at_most, below, holds, tally
from experiments.study.showing.findings import Findings, Part, drawn
from experiments.study.showing.table import REPORT, Column, Table, column
from schedules.search import Estimate, median_estimate

LANDSCAPE_COST = 150  # evaluations, the median of the default strategy
LANDSCAPE_FRACTION = 0.9  # of its searches that arrive within its budget
LANDSCAPE_RATIO = 1.5  # of the median cost by the model of curves to that
TRAINING_RATIO = 0.2  # of its median cost to that of random search


def present(results: Results | all_shapes.Results) -> Findings:
    """A table of strategies for each family, the claims, and what selection does to scores."""
    if isinstance(results, all_shapes.Results):
        return all_shapes.present(results)
    config, bias = results.config, results.bias
    claimed = claims(results)
    images = drawn(results, figures.reached, figures.excesses, *([figures.selection_bias] if bias else []))
    winners = Part("The default strategy's winners", [winners_table(results)])
    return Findings(
        config.setting,
        tally(claimed),
        [
            Part("", [*map(partial(family_table, results), config.families), *notes(results), *images]),
            *([winners] if bias else []),
        ],
        claimed,
        facts={
            "confidence": config.confidence,
            "scale": results.judged.scale.value,
            "best_known": {
                family: {**known._asdict(), "near_optimal_up_to": results.near(family)}
                for family, known in results.judged.known.items()
            },
            "strategies": Table("", columns(results), list(results.efficiency.values())),
            "selection_bias": bias,
            "winners": winners_table(results),
        },
    )


def claims(results: Results) -> list[Claim]:
    """What the search is expected to show, stated before any run. Claims on costs are about the measured
    values, whose intervals tell how sure they are."""
    families, bias = results.config.families, results.bias
    if isinstance(results.config, Landscape):
        return [claim for family in families for claim in landscape_claims(family, results)]
    ratio, allowed = f"cost of {DEFAULT} over {RANDOM}'s", at_most(TRAINING_RATIO)
    return [
        *(Claim(ratio, family, results.ratio(family, DEFAULT), allowed) for family in families),
        Claim("naive score of winners, relative to the truth", DEFAULT, bias.naive, below(0)),
        Claim("fresh score of winners, relative to the truth", DEFAULT, bias.fresh, holds(0)),
        Claim(
            "fraction of fresh intervals that hold the truth",
            DEFAULT,
            bias.coverage,
            holds(results.config.confidence),
        ),
    ]


def landscape_claims(family: str, results: Results) -> list[Claim]:
    """Those about a family where there is no noise."""
    confidence = results.config.confidence
    default, random = (results.efficiency[family, name] for name in (DEFAULT, RANDOM))
    statement = f"fraction of {DEFAULT}'s searches within {default.budget} evaluations"
    never = Bound(f"above {random.budget}", lambda cost: math.isinf(cost.value))
    cost, others = default.median_cost(confidence), random.median_cost(confidence)
    claimed = [
        Claim(f"median evaluations of {DEFAULT}", family, cost, at_most(LANDSCAPE_COST)),
        Claim(statement, family, default.reached(confidence), at_least(LANDSCAPE_FRACTION)),
        Claim(f"median evaluations of {RANDOM}", family, others, never),
    ]
    if CURVES in results.config.budgets:
        ratio = results.ratio(family, CURVES, DEFAULT)
        claimed.append(Claim(f"cost of {CURVES} over {DEFAULT}'s", family, ratio, at_most(LANDSCAPE_RATIO)))
    return claimed


def family_table(results: Results, family: str) -> Table[Efficiency]:
    """A row a strategy, the cheapest first."""
    strategies = [results.efficiency[family, strategy] for strategy in results.config.budgets]
    cheapest_first = sorted(strategies, key=lambda row: (np.median(row.costs), row.budget))
    return Table("", columns(results), cheapest_first, f"{family}: {results.config.setting}")


def columns(results: Results) -> tuple[Column[Efficiency], ...]:
    """Of a strategy on a family."""
    confidence, scale = results.config.confidence, results.judged.scale
    return (
        column(family=lambda row: row.family),
        column("strategy", strategy=lambda row: row.strategy),
        column(
            "median cost",
            shown=lambda row: cost_text(row.median_cost(confidence), row.budget),
            median_cost=lambda row: row.median_cost(confidence),
        ),
        column("near-optimal", fraction_near_optimal=lambda row: row.reached(confidence)),
        column("at the end", fraction_near_optimal_at_end=lambda row: row.reached_at_end(confidence)),
        column("budget", "{budget:,}".format, budget=lambda row: row.budget),
        column(
            f"cost / {RANDOM}'s",
            shown=partial(ratio_text, results),
            cost_over_random=lambda row: results.ratio(row.family, row.strategy),
        ),
        column(
            f"above best, {scale.unit}",
            change_cell(scale, 1, sign=""),
            above_best_known=lambda row: row.excess(confidence),
        ),
        column(costs=lambda row: row.costs),
    )


def cost_text(cost: Estimate, budget: int) -> str:
    """A median cost, which is at least 0; beyond the budget all that is known is that it is larger."""
    value, low, high = (f"> {budget:,}" if end == math.inf else f"{max(end, 0):,.0f}" for end in cost)
    return f"{value} [{low}, {high}]"


def ratio_text(results: Results, row: Efficiency) -> str:
    """A ratio of costs; "≤" where random search did not arrive and counts by its budget."""
    ratio = results.ratio(row.family, row.strategy)
    if row.strategy == RANDOM or not math.isfinite(ratio.value):
        return NONE
    bound = "" if math.isfinite(np.median(results.efficiency[row.family, RANDOM].costs)) else "≤ "
    return bound + as_text(ratio)


def winners_table(results: Results) -> Table[Search]:
    """A row a search of the default strategy, none where scores have no noise."""
    winners, scale, confidence = results.judged.winners, results.judged.scale, results.config.confidence

    def fresh(search: Search) -> Estimate:
        return median_estimate(winners[search].fresh, confidence)

    def truth(search: Search) -> float:
        return float(np.median(winners[search].truth))

    def off(score: str, value: Callable[[Search], float]) -> Column[Search]:
        def text(search: Search) -> str:
            return scale.text(float(scale.changes(value(search), truth(search))), 1, "+").removesuffix("%")

        return column(f"{score} off, {scale.unit}", shown=text)

    columns = (
        column("family", family=lambda search: search.family),
        column("seed", seed=lambda search: search.seed),
        column("naive", "{naive:.4g}".format, naive=lambda search: winners[search].naive),
        column(
            "fresh [interval]",
            shown=lambda search: as_text(fresh(search)),
            fresh=lambda search: fresh(search).value,
        ),
        column("truth", "{truth:.4g}".format, truth=truth),
        off("naive", lambda search: winners[search].naive),
        off("fresh", lambda search: fresh(search).value),
    )
    return Table("", columns, list(winners), places=REPORT)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, tally = results.config, results.tally
    known = "; ".join(
        f"{family} {known.score:.6g}, near-optimal up to {results.near(family):.6g}"
        for family, known in results.judged.known.items()
    )
    return [
        f"Cost: training steps over {config.num_steps}, until a search first knew a near-optimal shape, one"
        f" within {config.tolerance:.0%}{' or one standard error' if results.judged.winners else ''} of the"
        f" best known. Medians of {config.seeds} searches with {config.confidence:.0%} intervals, and the"
        " fraction of them that arrived; one that did not counts as costing more than its budget. At the end:"
        " the fraction whose winner is near-optimal, and how far the winners lie above the best known.",
        f"Best known: {known}.",
        *(_training_notes(config) if isinstance(config, Training) else _landscape_notes(config)),
        f"{tally.runs:,} rows in the journal, of which {tally.diverged:,} diverged,"
        f" in {tally.seconds:.0f} s.",
    ]


def _landscape_notes(config: Landscape) -> list[str]:
    return [
        f"An evaluation is a run. The best known is the lowest of all searches and of {config.polished}"
        " descents by gradients from their best winners."
    ]


def _training_notes(config: Training) -> list[str]:
    return [
        f"A candidate costs {config.screen_replicates} runs, in a race up to as many. A search's incumbent"
        f" is judged by the median of {config.fresh_replicates} fresh seeds, which are no other search's; the"
        f" best known is the best of {config.finalists} finalists by {config.truth_replicates} other seeds,"
        f" and its standard error that of a median of {config.fresh_replicates}.",
        f"Winners of {DEFAULT}: naive is the score of the {config.screen_replicates} seeds that chose it,"
        f" fresh the median of {config.confirm_replicates} others, truth that of {config.truth_replicates}"
        " yet others. The truth has an error too, about"
        f" {math.sqrt(config.confirm_replicates / config.truth_replicates):.0%} of the fresh score's, so that"
        " slightly fewer intervals hold it than should.",
    ]
