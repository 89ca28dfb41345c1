"""The runs of the study: every contestant at the learning rate at which it generalises first."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

import optim
import workloads
from experiments.grokking.config import CENTRES, REMEDIES, Config, Contestant, Remedy
from experiments.study.options.metrics import curve_columns, recorded_curves
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Runner, Runs
from experiments.study.statistics.curves import first_reached
from experiments.study.storage.journal import Row
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, final_metrics
from experiments.study.training.tuning import CONFIRM, Outcomes, Tuned, tune

ERRORS = ("train_error", "test_error")
REACHED = 0.01  # the error of what fits, on training pairs, and generalises, on others
FITTED, GENERALISED, SCORE = "fitted", "generalised", "steps"


class Outcome(NamedTuple):
    """A contestant at its best.

    Attributes:
      contestant: what was tuned.
      tuned: its setting, and the scores of the confirming runs.
      fitted: after how many steps each of these fits, +inf where it never does.
      generalised: after how many it generalises, likewise.
      errors: by metric, those of each run at each of `config.curve_steps`.
    """

    contestant: Contestant
    tuned: Tuned
    fitted: Float[np.ndarray, "replicates"]
    generalised: Float[np.ndarray, "replicates"]
    errors: Mapping[str, Float[np.ndarray, "replicates points"]]

    @property
    def delays(self) -> Float[np.ndarray, "replicates"]:
        """Steps from fitting to generalising, 0 where both come at once; +inf for a run that never does."""
        with np.errstate(invalid="ignore"):
            delays = self.generalised - np.minimum(self.fitted, self.generalised)
        return np.where(np.isnan(delays), np.inf, delays)


Results = Outcomes[Config, tuple[str, str], Outcome]  # by optimizer and remedy


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every contestant, and look at its confirming runs."""

    @functools.cache
    def evaluator(optimizer: str, remedy: Remedy) -> Evaluate:
        make = functools.partial(runner, optimizer, remedy, config)
        return runs.evaluator(make, SCORE, config.chunk_runs)

    outcomes = {}
    for contestant in config.contestants:
        # a decay is a number of a row, so that the same program serves with it and without
        evaluate = evaluator(contestant.optimizer, REMEDIES[contestant.remedy]._replace(decays=False))
        tuned = tune(contestant, CENTRES[contestant.optimizer], config, evaluate)
        rows = runs.journal.group(CONFIRM, contestant.name)
        outcomes[contestant.optimizer, contestant.remedy] = outcome(contestant, tuned, rows, config)
    return Results(config, outcomes, runs.journal.tally())


def outcome(contestant: Contestant, tuned: Tuned, rows: Sequence[Row], config: Config) -> Outcome:
    """What the journal holds of the confirming runs."""
    runs = [row.metrics for row in rows]

    def finite(values: Float[np.ndarray, "replicates *points"]) -> Float[np.ndarray, "replicates *points"]:
        return np.where(np.isfinite(values), values, np.inf)

    steps = (finite(np.array([metrics[name] for metrics in runs])) for name in (FITTED, GENERALISED))
    errors = {name: finite(recorded_curves(name, config.curve_steps, runs)) for name in ERRORS}
    return Outcome(contestant, tuned, *steps, errors)


def runner(optimizer: str, remedy: Remedy, config: Config) -> Runner:
    """What trains with that optimizer and remedy: one compiled program for all rates and decays."""
    workload = workloads.load(
        "modular_addition",
        modulus=config.modulus,
        train_share=config.train_share,
        width=config.width,
        loss=remedy.loss,
        loss_precision=remedy.loss_precision,
    )

    def train(row, data):
        def transformation(schedule):
            built = OPTIMIZERS[optimizer].build(schedule, row["weight_decay"])
            return optax.chain(optim.orthogonal_gradient(), built) if remedy.orthogonal else built

        run = workloads.train(
            workload,
            data,
            transformation,
            jnp.full(config.num_steps, row["learning_rate"]),
            workloads.run_keys(row["key"]),
            batch_size=config.train_pairs,
            evaluate_at=config.curve_steps,
        )
        return run.metrics

    return Program(train, functools.partial(columns, config)).runner(workload.data, config.seed)


def columns(
    config: Config, metrics: Mapping[str, Float[np.ndarray, "runs points"]]
) -> dict[str, Float[np.ndarray, "runs"]]:
    """Of all runs: the metrics at their end, the errors along the way, when each fits and generalises, and
    the score: when it generalises, or what its test error is worth where it has not."""
    steps = config.curve_steps
    final = final_metrics(metrics)
    curves = curve_columns({name: metrics[name] for name in ERRORS}, steps)
    fitted, generalised = (
        np.array([first_reached(errors, steps, REACHED) for errors in metrics[name]]) for name in ERRORS
    )
    censored = config.num_steps * (1 + final["test_error"])
    score = np.where(np.isfinite(generalised), generalised, censored)
    return {**final, **curves, FITTED: fitted, GENERALISED: generalised, SCORE: score}
