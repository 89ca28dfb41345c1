"""A search in every setting, then every setting's shape in every other."""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.shape_dependence.config import Config
from experiments.shape_dependence.costs import Costs
from experiments.shape_dependence.transfer import Transferred, transfer
from experiments.shape_search import STUDY as SHAPE_SEARCH
from experiments.shape_search.runs import evaluator
from experiments.study.running.runs import Runs
from experiments.study.storage.journal import Tally
from schedules.search import Candidate, Estimate, Scale, median_change, median_estimate


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was varied.
      shapes: the best shape of each setting, as its search found it.
      transferred: every setting's shape in every setting, by the setting trained in, then the shape's.
      costs: the change of the median from that of the setting's own shape, on the same fresh seeds, in the
        same order; each interval at `config.level`.
      scale: of all costs.
      tally: how many runs the transfers took.
    """

    config: Config
    shapes: Mapping[str, Candidate]
    transferred: Mapping[str, Mapping[str, Transferred]]
    costs: Costs
    scale: Scale
    tally: Tally

    def score(self, setting: str, shape: str) -> Estimate:
        """That of a setting's shape in a setting."""
        return median_estimate(self.transferred[setting][shape].scores, self.config.confidence)


def conclude(config: Config, runs: Runs) -> Results:
    """Search in every setting, train every best shape in all, and compare with the one that belongs there."""
    settings = config.settings
    searches = {name: runs.within(name, SHAPE_SEARCH, search) for name, search in settings.items()}
    shapes = {name: results.best.winner.candidate for name, results in searches.items()}
    transferred = {
        name: transfer(name, shapes, search.budget, evaluator(search, runs), runs.once)
        for name, search in settings.items()
    }
    scores = {setting: {n: t.scores for n, t in shown.items()} for setting, shown in transferred.items()}
    scale = Scale.of(*(values for in_setting in scores.values() for values in in_setting.values()))
    costs = {
        setting: {
            name: median_change(values, in_setting[setting], config.level, scale)
            for name, values in in_setting.items()
            if name != setting
        }
        for setting, in_setting in scores.items()
    }
    return Results(config, shapes, transferred, costs, scale, runs.journal.tally())
