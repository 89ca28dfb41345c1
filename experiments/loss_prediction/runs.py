"""The runs of the study, and what they show of the laws, of their rivals and of what they propose."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.loss_prediction.config import Config
from experiments.loss_prediction.law import (
    COUNTS_WARMUP,
    Curves,
    FittedLaw,
    fitted_law,
    predicted_finals,
    proposal,
)
from experiments.loss_prediction.shapes import ANY, fitted_schedules, learning_rates, unseen_schedules
from experiments.study.options.errors import StudyError
from experiments.study.options.metrics import curve_metric
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Runs
from experiments.study.statistics.resampled import Correlations, correlations, resamples_of
from experiments.study.storage.journal import Journal, Tally, median_or_worse
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.shape_runs import shape_runner
from schedules.search import Candidate, Once, Rung, Scale, Standing, Trial, Winner, confirm, standings

FIT, CHOOSE, SCORE = "fit", "choose", "score"
WINNER, MOST = "measured winner", "largest Σ LR"
SUM = "-Σ LR"
OTHER_SEEDS = "other seeds"  # no predictor, but what noise leaves to predict
pick_name, optimum_name = "{}: pick".format, "{}: optimum".format  # of the proposals, by law


class Pool(NamedTuple):
    """What is known of the unseen schedules, in the same order everywhere.

    Attributes:
      chosen: the median loss over the seeds that choose, +inf where the runs diverged.
      scored: the same over the fresh seeds that score.
      predictions: what says so beforehand, by its name; the lower the better.
    """

    schedules: Sequence[Candidate]
    chosen: Float[np.ndarray, "shapes"]
    scored: Float[np.ndarray, "shapes"]
    predictions: Mapping[str, Float[np.ndarray, "shapes"]]

    def best(self, count: int) -> Int[np.ndarray, "count"]:
        """Which are the best, by the seeds that choose."""
        return np.argsort(self.chosen, kind="stable")[:count]

    def pick(self, predictor: str) -> Candidate:
        """The schedule of the lowest prediction."""
        return self.schedules[np.argmin(self.predictions[predictor])]

    def correlations(self, rows: Int[np.ndarray, "rows"], confidence: float) -> Correlations:
        """Each predictor's rank correlation with the scored losses among these shapes; the intervals take
        them as they are and resample them."""
        draws = rows[resamples_of(len(rows))]
        return correlations(self.predictions, self.scored, rows, draws, confidence)


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was fitted and predicted.
      curves: what the laws were fitted on.
      laws: by name.
      pools: the unseen shapes, at equal sums of learning rates and at any.
      overall: by pool, the rank correlations over all shapes.
      among_best: by pool, those among the best shapes.
      contests: by pool and name, the winner and what was proposed beforehand, on fresh seeds, best first.
      scale: of the changes in all contests.
      tally: how many runs there were.
    """

    config: Config
    curves: Curves
    laws: Mapping[str, FittedLaw]
    pools: Mapping[str, Pool]
    overall: Mapping[str, Correlations]
    among_best: Mapping[str, Correlations]
    contests: Mapping[str, Mapping[str, Standing]]
    scale: Scale
    tally: Tally


def conclude(config: Config, runs: Runs) -> Results:
    """Fit the laws, predict, and compare with what the unseen shapes and the proposals come to."""
    once = runs.once
    unseen = unseen_schedules(config, once)  # before any run: there may be too few
    fitted = [t for s in fitted_schedules(config) for t in trials(s, FIT, config.fit_replicates, config)]
    evaluator(config, runs, config.fit_replicates, config.curve_steps)(fitted)
    curves = measured_curves(config, runs.journal)
    laws = {name: fitted_law(curves, counts, config, once) for name, counts in COUNTS_WARMUP.items()}
    evaluate = evaluator(config, runs, config.num_shapes)
    pools = {
        name: measured_pool(name, schedules, laws, config, evaluate, once)
        for name, schedules in unseen.items()
    }
    entered = {
        name: confirmed(entrants(name, pool, laws, config, once), config, evaluate)
        for name, pool in pools.items()
    }
    scale = Scale.of(*(entrant.scores for pool in entered.values() for entrant in pool.values()))
    everything = np.arange(config.num_shapes)
    return Results(
        config,
        curves,
        laws,
        pools,
        {name: pool.correlations(everything, config.confidence) for name, pool in pools.items()},
        {name: p.correlations(p.best(config.num_best), config.confidence) for name, p in pools.items()},
        {name: contest(pool, config, scale) for name, pool in entered.items()},
        scale,
        runs.journal.tally(),
    )


def trials(schedule: Candidate, stage: str, replicates: int, config: Config) -> list[Trial]:
    """The runs of a schedule in a stage, one a seed."""
    return [Trial(stage, schedule, config.num_steps, replicate) for replicate in range(replicates)]


def evaluator(config: Config, runs: Runs, chunk_runs: int, curve_steps: Sequence[int] = ()) -> Evaluate:
    """What trains schedules, and evaluates them after so many steps too."""
    options = {"batch_size": config.batch_size, "vectorize": config.vectorize, "curve_steps": curve_steps}
    runner = partial(shape_runner, config, runs, OPTIMIZERS[config.optimizer].chain(0.0), **options)
    return runs.evaluator(runner, config.metric, chunk_runs, config.vectorize)


def measured_curves(config: Config, journal: Journal) -> Curves:
    """The journal's curves. Raises StudyError where a run diverged, or a loss is not positive."""
    schedules, records = fitted_schedules(config), journal.metrics(FIT)

    def median(schedule: Candidate, step: int) -> float:
        metrics = [records[t.identity] for t in trials(schedule, FIT, config.fit_replicates, config)]
        return median_or_worse([run[curve_metric(config.metric, step)] for run in metrics])

    losses = np.array([[median(schedule, step) for step in config.curve_steps] for schedule in schedules])
    for schedule, curve in zip(schedules, losses, strict=True):
        if not np.isfinite(curve).all():
            raise StudyError(
                f"largest_rate: at least half of the runs of {schedule.family.name} at"
                f" {schedule.base_lr:g} diverged, and a law needs whole curves; got {config.largest_rate}."
            )
    if np.min(losses) <= 0:
        raise StudyError(
            f"metric: a law is fitted to the logarithm of a loss, which must be positive; {config.metric}"
            f" came down to {np.min(losses):.3g}."
        )
    return Curves(schedules, np.array(config.curve_steps), losses)


def measured_pool(
    name: str,
    schedules: Sequence[Candidate],
    laws: Mapping[str, FittedLaw],
    config: Config,
    evaluate: Evaluate,
    once: Once,
) -> Pool:
    """The unseen schedules of a pool, trained, and what was predicted of them."""

    def medians(stage: str, replicates: int) -> Float[np.ndarray, "schedules"]:
        table = [trials(schedule, stage, replicates, config) for schedule in schedules]
        # one replicate of all schedules after the other: those are the chunks
        scores = evaluate([trial for column in zip(*table, strict=True) for trial in column])
        return np.array([np.median([scores[trial] for trial in row]) for row in table])

    def predict() -> dict[str, list[float]]:
        losses = {law: predicted_finals(fitted, schedules, config) for law, fitted in laws.items()}
        if name == ANY:  # equal sums differ by rounding alone
            losses[SUM] = -learning_rates(schedules, config).sum(axis=1)
        return {predictor: values.tolist() for predictor, values in losses.items()}

    chosen, scored = medians(CHOOSE, config.choose_replicates), medians(SCORE, config.score_replicates)
    predicted = {key: np.array(values) for key, values in once(f"predictions, {name}", predict).items()}
    return Pool(schedules, chosen, scored, {**predicted, OTHER_SEEDS: chosen})


def entrants(
    name: str, pool: Pool, laws: Mapping[str, FittedLaw], config: Config, once: Once
) -> dict[str, Candidate]:
    """The winner of a pool, the best by both kinds of seeds, and what was proposed beforehand."""
    best = pool.best(config.num_best)
    entering = {WINNER: pool.schedules[best[np.argmin(pool.scored[best])]]}
    entering |= {pick_name(law): pool.pick(law) for law in laws}
    if name == ANY:
        entering[MOST] = pool.pick(SUM)
        entering |= {optimum_name(law): proposal(fitted, config, once) for law, fitted in laws.items()}
    return entering


def confirmed(schedules: Mapping[str, Candidate], config: Config, evaluate: Evaluate) -> dict[str, Winner]:
    """The entrants, of which two may be the same schedule, with their scores on fresh seeds."""
    rung = Rung(config.confirm_replicates, config.num_steps)
    names = {schedule: name for name, schedule in schedules.items()}
    scored = confirm({name: schedule for schedule, name in names.items()}, rung, evaluate)
    return {name: scored[names[schedule]] for name, schedule in schedules.items()}


def contest(entered: Mapping[str, Winner], config: Config, scale: Scale) -> dict[str, Standing]:
    """The entrants by name, best first."""
    baselines = [name for name in (WINNER, MOST) if name in entered]
    return {s.name: s for s in standings(entered, baselines, config.confidence, scale)}
