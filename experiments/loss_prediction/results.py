"""What the study found: the law against its rivals, and its proposals against the winners."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.loss_prediction.config import Config
from experiments.loss_prediction.law import FittedCurves, fitted_curves, predicted_finals, proposal
from experiments.loss_prediction.ranking import (
    LAW,
    OTHER_SEEDS,
    SUM,
    Correlations,
    Pool,
    correlations,
)
from experiments.loss_prediction.trials import (
    ANY,
    CHOOSE,
    CONFIRM,
    FIT,
    SCORE,
    Schedule,
    fitted_schedules,
    learning_rates,
    unseen_schedules,
)
from experiments.study.evaluation import Evaluate
from experiments.study.journal import Journal
from schedules.search import Standing, standings

WINNER, PICK, MOST, OPTIMUM = "measured winner", "law's pick", "largest Σ LR", "law's optimum"


class Entrant(NamedTuple):
    """A schedule that is scored with fresh seeds, and its scores; diverged ones +inf."""

    schedule: Schedule
    scores: Float[np.ndarray, "replicates"]


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was fitted and predicted.
      curves: the fitted law.
      pools: the unseen shapes at equal sums of learning rates and at any.
      overall: by pool, the rank correlations over all shapes.
      among_best: by pool, those among the best shapes.
      contests: by pool, the winner and what was proposed beforehand, on fresh seeds, best first.
      counts: runs by status, "finished" and "diverged".
      seconds: how long the runs took together.
    """

    config: Config
    curves: FittedCurves
    pools: Mapping[str, Pool]
    overall: Mapping[str, Correlations]
    among_best: Mapping[str, Correlations]
    contests: Mapping[str, tuple[Standing, ...]]
    counts: Mapping[str, int]
    seconds: float

    def standing(self, pool: str, name: str) -> Standing:
        """The place of one entrant of a pool's contest."""
        return next(standing for standing in self.contests[pool] if standing.name == name)


def collect(config: Config, journal: Journal, evaluate: Evaluate) -> Results:
    """Fit, predict, and compare with what `evaluate` makes of the unseen shapes and of the proposals."""
    evaluate([t for s in fitted_schedules(config) for t in s.trials(FIT, config.fit_replicates)])
    curves = fitted_curves(config, journal)
    unseen = unseen_schedules(config)
    pools = {name: _measured(schedules, curves, config, evaluate) for name, schedules in unseen.items()}
    best = {name: pool.best(config.num_best) for name, pool in pools.items()}
    everything = np.arange(config.num_shapes)
    contests = {}
    for name, pool in pools.items():
        entrants = {
            WINNER: unseen[name][best[name][np.argmin(pool.scored[best[name]])]],
            PICK: unseen[name][np.argmin(pool.predictions[LAW])],
        }
        if name == ANY:
            entrants[MOST] = unseen[name][np.argmin(pool.predictions[SUM])]
            entrants[OPTIMUM] = proposal(curves.law, config)
        contests[name] = standings(_confirmed(entrants, config, evaluate), (WINNER,), config.confidence)
    return Results(
        config,
        curves,
        pools,
        {name: correlations(pool, everything) for name, pool in pools.items()},
        {name: correlations(pool, best[name]) for name, pool in pools.items()},
        contests,
        journal.counts(),
        journal.seconds(),
    )


def _measured(
    schedules: Sequence[Schedule], curves: FittedCurves, config: Config, evaluate: Evaluate
) -> Pool:
    chosen = _medians(schedules, CHOOSE, config.choose_replicates, evaluate)
    scored = _medians(schedules, SCORE, config.score_replicates, evaluate)
    # float32's rounding would order equal sums
    sums = np.round(learning_rates(schedules, config).sum(axis=1) / config.largest_rate, 3)
    predictions = {LAW: predicted_finals(curves.law, schedules, config), SUM: -sums, OTHER_SEEDS: chosen}
    return Pool(chosen, scored, predictions)


def _medians(
    schedules: Sequence[Schedule], stage: str, replicates: int, evaluate: Evaluate
) -> Float[np.ndarray, "schedules"]:
    trials = [schedule.trials(stage, replicates) for schedule in schedules]
    # a replicate of all schedules after the other: what a killed study leaves is whole replicates
    scores = evaluate([trial for of_replicate in zip(*trials, strict=True) for trial in of_replicate])
    return np.array([np.median([scores[trial] for trial in of_one]) for of_one in trials])


def _confirmed(entrants: Mapping[str, Schedule], config: Config, evaluate: Evaluate) -> dict[str, Entrant]:
    trials = {name: s.trials(CONFIRM, config.confirm_replicates) for name, s in entrants.items()}
    # two entrants may be the same schedule
    scores = evaluate(list(dict.fromkeys(trial for of_one in trials.values() for trial in of_one)))
    return {
        name: Entrant(entrants[name], np.array([scores[trial] for trial in of_one]))
        for name, of_one in trials.items()
    }
