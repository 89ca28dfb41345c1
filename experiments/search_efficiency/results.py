"""What the study found, and its tables."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from experiments.search_efficiency.config import DEFAULT, RANDOM, Config, Training
from experiments.search_efficiency.judging import Judged, cost_ratio, fraction_estimate, student_estimate
from experiments.search_efficiency.searches import Search
from experiments.study.options.pairs import workload_text
from experiments.study.showing.tables import estimate_text
from experiments.study.storage.journal import Journal
from schedules.search import Estimate, Scale, median_estimate


class Efficiency(NamedTuple):
    """A strategy on a family, a value a search.

    Attributes:
      budget: where each search ended, in full-length runs.
      costs: until it knew a near-optimal shape; +inf where it never did.
      excesses: how far its winner lies above the best known, on the scale of all that was judged.
      remained: whether its winner is near-optimal: it may have left for what only seemed better.
    """

    budget: int
    costs: Float[np.ndarray, "seeds"]
    excesses: Float[np.ndarray, "seeds"]
    remained: Bool[np.ndarray, "seeds"]

    def median_cost(self, confidence: float) -> Estimate:
        return median_estimate(self.costs, confidence)

    def reached(self, confidence: float) -> Estimate:
        """The fraction of searches that came to know a near-optimal shape."""
        return fraction_estimate(int(np.isfinite(self.costs).sum()), len(self.costs), confidence)

    def reached_at_end(self, confidence: float) -> Estimate:
        """The fraction whose winner is near-optimal."""
        return fraction_estimate(int(self.remained.sum()), len(self.costs), confidence)

    def excess(self, confidence: float) -> Estimate:
        return median_estimate(self.excesses, confidence)


class Bias(NamedTuple):
    """How the scores of winners differ from the truth, over all of the default strategy's searches.

    Attributes:
      naive, fresh: the mean changes from the truth of the score that chose, and of the one that confirms.
      coverage: the fraction of the confirming scores' intervals that hold the truth.
    """

    naive: Estimate
    fresh: Estimate
    coverage: Estimate


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was searched.
      judged: all that was measured.
      efficiency: by family and strategy.
      counts: runs by status, "finished" and "diverged".
      seconds: how long they took together.
    """

    config: Config
    judged: Judged
    efficiency: Mapping[tuple[str, str], Efficiency]
    counts: Mapping[str, int]
    seconds: float

    def ratio(self, family: str, strategy: str) -> Estimate:
        """The strategy's median cost over that of random search."""
        random = self.efficiency[family, RANDOM]
        costs = self.efficiency[family, strategy].costs
        return cost_ratio(costs, random.costs, random.budget, self.config.confidence)

    def near(self, family: str) -> float:
        """The highest score of a near-optimal shape."""
        return self.judged.known[family].near(self.config.tolerance)

    @property
    def scale(self) -> Scale:
        return self.judged.scale

    @property
    def setting(self) -> str:
        config = self.config
        if isinstance(config, Training):
            trained = f"{workload_text(config.workload, config.workload_options)}, {config.optimizer}"
        else:
            trained = f"mean field of linear regression, D = {config.dimension}, 1/k^{config.exponent:g}"
        return f"{trained}, batch {config.batch_size}, {config.num_steps} steps"

    @property
    def bias(self) -> Bias | None:
        """None where the scores have no noise."""
        winners, confidence = list(self.judged.winners.values()), self.config.confidence
        if not winners:
            return None
        truths = np.array([np.median(winner.truth) for winner in winners])
        fresh = [median_estimate(winner.fresh, confidence) for winner in winners]
        held = sum(one.low <= truth <= one.high for one, truth in zip(fresh, truths, strict=True))
        return Bias(
            student_estimate(self.scale.changes([winner.naive for winner in winners], truths), confidence),
            student_estimate(self.scale.changes([one.value for one in fresh], truths), confidence),
            fraction_estimate(int(held), len(winners), confidence),
        )


def collect(judged: Judged, config: Config, journal: Journal) -> Results:
    """Judge every search by the best score known of its family."""
    efficiency = {
        (family, strategy): _efficiency(family, strategy, judged, config)
        for family in config.families
        for strategy in config.budgets
    }
    return Results(config, judged, efficiency, journal.counts(), journal.seconds())


def _efficiency(family: str, strategy: str, judged: Judged, config: Config) -> Efficiency:
    known, budget = judged.known[family], config.budgets[strategy]
    near = known.near(config.tolerance)
    found = [judged.incumbents[Search(family, strategy, seed)] for seed in range(config.seeds)]
    costs = np.array([of.cost_to_reach(near) for of in found])
    ends = np.array([of.scores[-1] for of in found])
    return Efficiency(budget, costs, judged.scale.changes(ends, known.score), ends <= near)


def headings(results: Results) -> tuple[str, ...]:
    """The headings of a family's table of strategies."""
    costs = "median cost", "near-optimal", "at the end", "budget", f"cost / {RANDOM}'s"
    return "strategy", *costs, f"above best, {results.scale.unit}"


def rows(results: Results, family: str) -> list[tuple[str, ...]]:
    """The cells under `headings`, the cheapest strategy first."""
    found = {strategy: results.efficiency[family, strategy] for strategy in results.config.budgets}
    confidence = results.config.confidence
    return [
        (
            strategy,
            cost_text(of.median_cost(confidence), of.budget),
            estimate_text(of.reached(confidence)),
            estimate_text(of.reached_at_end(confidence)),
            f"{of.budget:,}",
            ratio_text(results, family, strategy),
            excess_text(of.excess(confidence), results.scale),
        )
        for strategy, of in sorted(found.items(), key=lambda pair: (np.median(pair[1].costs), pair[1].budget))
    ]


def cost_text(cost: Estimate, budget: int) -> str:
    """A median cost, which is at least 0; beyond the budget all that is known is that it is larger."""
    value, low, high = (f"> {budget:,}" if end == math.inf else f"{max(end, 0):,.0f}" for end in cost)
    return f"{value} [{low}, {high}]"


def excess_text(excess: Estimate, scale: Scale) -> str:
    value, low, high = (scale.text(end, 1).removesuffix("%") for end in excess)
    return f"{value} [{low}, {high}]"


def ratio_text(results: Results, family: str, strategy: str) -> str:
    """A ratio of costs; "≤" where random search did not arrive and counts by its budget."""
    ratio = results.ratio(family, strategy)
    if strategy == RANDOM or not math.isfinite(ratio.value):
        return "–"
    bound = "" if math.isfinite(np.median(results.efficiency[family, RANDOM].costs)) else "≤ "
    return bound + estimate_text(ratio)


def winner_headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of the default strategy's winners."""
    off = (f"{score} off, {results.scale.unit}" for score in ("naive", "fresh"))
    return "family", "seed", "naive", "fresh [interval]", "truth", *off


def winner_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `winner_headings`, a row a search of the default strategy."""
    cells = []
    for search, winner in results.judged.winners.items():
        truth, fresh = (
            float(np.median(winner.truth)),
            median_estimate(winner.fresh, results.config.confidence),
        )
        cells.append(
            (
                search.family,
                str(search.seed),
                f"{winner.naive:.4g}",
                estimate_text(fresh),
                f"{truth:.4g}",
                *(
                    results.scale.text(change, 1, "+").removesuffix("%")
                    for change in results.scale.changes([winner.naive, fresh.value], truth)
                ),
            )
        )
    return cells


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, counts = results.config, results.counts
    known = "; ".join(
        f"{family} {known.score:.6g}, near-optimal up to {results.near(family):.6g}"
        for family, known in results.judged.known.items()
    )
    lines = [
        f"Cost: training steps over {config.num_steps}, until a search first knew a near-optimal shape, one"
        f" within {config.tolerance:.0%}{' or one standard error' if results.judged.winners else ''} of the"
        f" best known. Medians of {config.seeds} searches with {config.confidence:.0%} intervals, and the"
        " fraction of them that arrived; one that did not counts as costing more than its budget. At the end:"
        " the fraction whose winner is near-optimal, and how far the winners lie above the best known.",
        f"Best known: {known}.",
    ]
    if isinstance(config, Training):
        lines += _training_notes(config)
    else:
        lines.append(
            f"An evaluation is a run. The best known is the lowest of all searches and of {config.polished}"
            " descents by gradients from their best winners."
        )
    lines.append(
        f"{sum(counts.values()):,} rows in the journal, of which {counts.get('diverged', 0):,} diverged,"
        f" in {results.seconds:.0f} s."
    )
    return lines


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
