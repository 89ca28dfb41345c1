"""A whole study of a toy question, in as few lines as the machinery asks for."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from experiments.study.options.config import StudyConfig
from experiments.study.showing.figures import as_png, panels
from experiments.study.showing.findings import Figure, Findings, Part
from experiments.study.showing.table import Table, column
from experiments.study.storage.journal import label
from experiments.study.study import Study
from experiments.study.training.programs import Program, trial_runner
from schedules.search import median_estimate, named_key


@dataclass(frozen=True)
class Config(StudyConfig):
    rates: tuple[float, ...] = (0.1, 0.5, 1.5)
    """Learning rates of gradient descent on x²/2."""
    planned_runs = property(lambda self: 8 * len(self.rates))


class Trial(NamedTuple):
    stage: str
    base_lr: float
    replicate: int
    params = property(lambda self: {})
    identity = property(lambda self: (self.stage, "x²/2", 0, label(rate=self.base_lr), self.replicate))

    def key(self, root):
        return named_key(root, self.stage, self.replicate)


def conclude(config, runs):
    def descend(row, data):
        return (jax.random.normal(row["key"]) * (1 - row["rate"]) ** 10) ** 2 / 2

    program = Program(descend, lambda losses: {"loss": losses})
    runner = trial_runner(lambda stage: program, lambda trial: {"rate": trial.base_lr}, (), config.seed)
    evaluate = runs.evaluator(lambda: runner, "loss", chunk_runs=4)
    scores = {r: evaluate([Trial("descend", r, k) for k in range(8)]) for r in config.rates}
    return {
        rate: median_estimate(np.array([*losses.values()]), config.confidence)
        for rate, losses in scores.items()
    }


def present(losses):
    columns = column("rate", rate=lambda pair: pair[0]), column("loss", loss=lambda pair: pair[1])
    (canvas, (axes,)), best = panels([""]), min(losses, key=lambda rate: losses[rate].value)
    axes.plot(list(losses), [loss.value for loss in losses.values()])
    content = [Table("losses", columns, list(losses.items())), Figure("losses", lambda: as_png(canvas))]
    return Findings("x²/2, ten steps", f"The rate {best} is best.", [Part("", content)])


STUDY = Study("toy", "Which rate?", {"toy": Config()}, conclude, present, {"toy": ""})
