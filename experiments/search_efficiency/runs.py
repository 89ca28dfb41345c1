"""The searches of the study, and what they show: every strategy judged by the best score known."""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.search_efficiency import landscape, training
from experiments.search_efficiency.all_shapes import runs as all_shapes
from experiments.search_efficiency.all_shapes.config import AllShapes
from experiments.search_efficiency.config import RANDOM, Config, Landscape
from experiments.search_efficiency.judging import Bias, Efficiency, Judged, bias, cost_ratio, efficiency
from experiments.study.running.runs import Runs
from experiments.study.storage.journal import Tally
from schedules.search import Estimate


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was searched.
      judged: all that was measured.
      efficiency: by family and strategy.
      tally: how many rows the journal has, and how long they took.
    """

    config: Config
    judged: Judged
    efficiency: Mapping[tuple[str, str], Efficiency]
    tally: Tally

    @property
    def bias(self) -> Bias | None:
        """None where the scores have no noise."""
        return bias(self.judged, self.config.confidence)

    def near(self, family: str) -> float:
        """The highest score of a near-optimal shape."""
        return self.judged.known[family].near(self.config.tolerance)

    def ratio(self, family: str, strategy: str, reference: str = RANDOM) -> Estimate:
        """The strategy's median cost over that of another one."""
        other = self.efficiency[family, reference]
        costs = self.efficiency[family, strategy].costs
        return cost_ratio(costs, other.costs, other.budget, self.config.confidence)


def conclude(config: Config | AllShapes, runs: Runs) -> Results | all_shapes.Results:
    """Make all searches and judge them."""
    if isinstance(config, AllShapes):
        return all_shapes.conclude(config, runs)
    judge = landscape.judge if isinstance(config, Landscape) else training.judge
    return results_of(config, judge(config, runs), runs.journal.tally())


def results_of(config: Config, judged: Judged, tally: Tally) -> Results:
    """Every search judged by the best score known of its family."""
    judgements = {
        (family, strategy): efficiency(family, strategy, judged, config.tolerance, budget)
        for family in config.families
        for strategy, budget in config.budgets.items()
    }
    return Results(config, judged, judgements, tally)
