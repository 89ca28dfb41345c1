"""The runs of the study, and what they show: every shape tuned, and trained at all the best rates."""

import functools
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.reversal.config import Config
from experiments.reversal.orders import Contest, Scores, Trained
from experiments.study.running.runs import Runner, Runs
from experiments.study.storage.journal import Tally
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, final_metrics, trainer
from experiments.study.training.tuning import Trial, Tuned, confirmed, tune
from experiments.study.training.usual_shapes import USUAL_SHAPES
from schedules import FAMILIES
from schedules.search import Scale


class Contestant(NamedTuple):
    """The usual shape of a family, driving an optimizer."""

    optimizer: str
    family: str

    @property
    def name(self) -> str:
        return f"{self.optimizer} {self.family}"

    @property
    def numbers(self) -> Mapping[str, float]:
        return USUAL_SHAPES[self.family]


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was compared.
      contests: by optimizer, what the shapes came to.
      scale: of all changes.
      tally: how many runs there were.
    """

    config: Config
    contests: Mapping[str, Contest]
    scale: Scale
    tally: Tally


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every shape, then score all at every rate that is the best of one."""
    centres = dict(zip(config.optimizers, config.centres, strict=True))
    trained = {optimizer: train_all(optimizer, centre, config, runs) for optimizer, centre in centres.items()}
    scale = Scale.of(*(values for _, scores in trained.values() for values in scores.values()))
    contests = {
        optimizer: Contest(tuned, scores, scale, config.confidence)
        for optimizer, (tuned, scores) in trained.items()
    }
    return Results(config, contests, scale, runs.journal.tally())


def train_all(
    optimizer: str, centre: float, config: Config, runs: Runs
) -> tuple[dict[str, Tuned], dict[Trained, Scores]]:
    """All shapes with an optimizer: each tuned, and the scores of each in every setting that is a best."""
    evaluate = runs.evaluator(partial(runner, optimizer, config, runs), config.metric, config.chunk_runs)
    contestants = {family: Contestant(optimizer, family) for family in config.compared}
    tuned = {family: tune(chosen, centre, config, evaluate) for family, chosen in contestants.items()}
    settings = sorted({found.setting for found in tuned.values()})
    scores = {
        (family, setting): confirmed(chosen, setting, config, evaluate)
        for family, chosen in contestants.items()
        for setting in settings
    }
    return tuned, scores


def runner(optimizer: str, config: Config, runs: Runs) -> Runner:
    """What trains all shapes with that optimizer: one program, whose rows hold their learning rates."""

    @functools.cache
    def multipliers(family: str) -> Float[np.ndarray, "steps"]:
        return np.asarray(FAMILIES[family].multipliers(USUAL_SHAPES[family], config.num_steps))

    def numbers(trial: Trial) -> dict[str, np.ndarray]:
        return {"learning_rates": np.float32(trial.base_lr) * multipliers(trial.contestant.family)}

    def train(row, data):
        trained = trainer(
            config,
            runs.workload,
            data,
            OPTIMIZERS[optimizer].chain(0.0),
            row["learning_rates"],
            row["key"],
            batch_size=config.batch_size,
        )
        return trained._replace(finish=lambda run: trained.finish(run).metrics)

    return Program(train, final_metrics, config.num_steps).runner(runs.workload.data, config.seed, numbers)
