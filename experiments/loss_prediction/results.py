"""What the study found: the laws against their rivals, and what they propose against the winners."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.loss_prediction.config import Config
from experiments.loss_prediction.law import (
    COUNTS_WARMUP,
    Curves,
    FittedLaw,
    fitted_law,
    measured_curves,
    predicted_finals,
    proposal,
)
from experiments.loss_prediction.ranking import OTHER_SEEDS, SUM, Correlations, Pool, correlations
from experiments.loss_prediction.trials import (
    ANY,
    CHOOSE,
    CONFIRM,
    EQUAL,
    FIT,
    SCORE,
    fitted_schedules,
    learning_rates,
    runs,
    unseen_once,
)
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Runs
from schedules.search import Candidate, Once, Scale, Standing, standings

WINNER, MOST = "measured winner", "largest Σ LR"


class Entrant(NamedTuple):
    """A schedule that is scored with fresh seeds, and its scores; diverged ones +inf."""

    candidate: Candidate
    scores: Float[np.ndarray, "replicates"]


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was fitted and predicted.
      curves: what the laws were fitted on.
      laws: by name.
      pools: the unseen shapes, at equal sums of learning rates and at any.
      overall: by pool, the rank correlations over all shapes.
      among_best: by pool, those among the best shapes.
      contests: by pool, the winner and what was proposed beforehand, on fresh seeds, best first.
      counts: runs by status, "finished" and "diverged".
      seconds: how long the runs took together.
    """

    config: Config
    curves: Curves
    laws: Mapping[str, FittedLaw]
    pools: Mapping[str, Pool]
    overall: Mapping[str, Correlations]
    among_best: Mapping[str, Correlations]
    contests: Mapping[str, tuple[Standing, ...]]
    counts: Mapping[str, int]
    seconds: float

    @property
    def scale(self) -> Scale:
        """Of the changes in all contests."""
        return self.contests[EQUAL][0].scale

    def standing(self, pool: str, name: str) -> Standing:
        """The place of one entrant of a pool's contest."""
        return next(standing for standing in self.contests[pool] if standing.name == name)


def picked(law: str) -> str:
    """What the unseen schedule of which a law predicts the lowest loss is called."""
    return f"{law}: pick"


def optimised(law: str) -> str:
    """What the schedule is called that a law's predictions were minimised over."""
    return f"{law}: optimum"


def collect(config: Config, study: Runs, evaluate: Evaluate) -> Results:
    """Fit, predict, and compare with what `evaluate` makes of the unseen shapes and of the proposals."""
    once = study.once
    evaluate([t for s in fitted_schedules(config) for t in runs(s, FIT, config.fit_replicates, config)])
    curves = measured_curves(config, study.journal)
    laws = {name: fitted_law(curves, counts, config, once) for name, counts in COUNTS_WARMUP.items()}
    unseen = unseen_once(config, once)
    pools = {
        name: _measured(name, schedules, laws, config, evaluate, once) for name, schedules in unseen.items()
    }
    entered = {
        name: _scored(_entrants(name, pool, unseen[name], laws, config, once), config, evaluate)
        for name, pool in pools.items()
    }
    scale = Scale.of(*(entrant.scores for of in entered.values() for entrant in of.values()))
    contests = {name: _contest(of, scale, config) for name, of in entered.items()}
    everything = np.arange(config.num_shapes)
    return Results(
        config,
        curves,
        laws,
        pools,
        {name: correlations(pool, everything) for name, pool in pools.items()},
        {name: correlations(pool, pool.best(config.num_best)) for name, pool in pools.items()},
        contests,
        study.journal.counts(),
        study.journal.seconds(),
    )


def _measured(
    name: str,
    schedules: Sequence[Candidate],
    laws: Mapping[str, FittedLaw],
    config: Config,
    evaluate: Evaluate,
    once: Once,
) -> Pool:
    chosen = _medians(schedules, CHOOSE, config.choose_replicates, config, evaluate)
    scored = _medians(schedules, SCORE, config.score_replicates, config, evaluate)

    def predict() -> dict[str, list[float]]:
        losses = {law: predicted_finals(fitted, schedules, config) for law, fitted in laws.items()}
        if name == ANY:  # equal sums differ by rounding alone
            losses[SUM] = -learning_rates(schedules, config).sum(axis=1)
        return {key: values.tolist() for key, values in losses.items()}

    predicted = {key: np.array(values) for key, values in once(f"predictions, {name}", predict).items()}
    return Pool(chosen, scored, {**predicted, OTHER_SEEDS: chosen})


def _medians(
    schedules: Sequence[Candidate], stage: str, replicates: int, config: Config, evaluate: Evaluate
) -> Float[np.ndarray, "schedules"]:
    trials = [runs(schedule, stage, replicates, config) for schedule in schedules]
    # one replicate of all schedules after the other: those are the chunks
    scores = evaluate([trial for of_replicate in zip(*trials, strict=True) for trial in of_replicate])
    return np.array([np.median([scores[trial] for trial in of_one]) for of_one in trials])


def _entrants(
    name: str,
    pool: Pool,
    schedules: Sequence[Candidate],
    laws: Mapping[str, FittedLaw],
    config: Config,
    once: Once,
) -> dict[str, Candidate]:
    best = pool.best(config.num_best)
    entrants = {WINNER: schedules[best[np.argmin(pool.scored[best])]]}
    entrants |= {picked(law): schedules[np.argmin(pool.predictions[law])] for law in laws}
    if name == ANY:
        entrants[MOST] = schedules[np.argmin(pool.predictions[SUM])]
        entrants |= {optimised(law): proposal(fitted, config, once) for law, fitted in laws.items()}
    return entrants


def _scored(entrants: Mapping[str, Candidate], config: Config, evaluate: Evaluate) -> dict[str, Entrant]:
    trials = {name: runs(s, CONFIRM, config.confirm_replicates, config) for name, s in entrants.items()}
    # two entrants may be the same schedule
    scores = evaluate(list(dict.fromkeys(trial for of_one in trials.values() for trial in of_one)))
    return {
        name: Entrant(entrants[name], np.array([scores[trial] for trial in of_one]))
        for name, of_one in trials.items()
    }


def _contest(entrants: Mapping[str, Entrant], scale: Scale, config: Config) -> tuple[Standing, ...]:
    baselines = [name for name in (WINNER, MOST) if name in entrants]
    return standings(entrants, baselines, config.confidence, scale)
