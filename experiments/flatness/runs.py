"""The runs of the study: every contestant tuned and confirmed, its end measured."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import optim
import workloads
from experiments.flatness.config import METHODS, Config, Contestant
from experiments.flatness.digits import LARGEST, TRACE, curvature, draw_split, network
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Runner, Runs
from experiments.study.running.sweeping import Departure
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, trainer
from experiments.study.training.tuning import CONFIRM, Outcomes, Setting, Trial, confirmed, tune
from schedules.search import named_key

SCORE = "validation_error"
FORMS = {"sa_sam": "paper", "sa_sam_published": "published"}
FIRST_RATE = 0.05  # of SA-SAM's first step, that of its published code
RATE = "rate_found"  # of SA-SAM's last step
IVON_B2 = 0.999  # the curvature is followed within a run, and not within 10⁵ steps


class Outcome(NamedTuple):
    """A contestant at its best.

    Attributes:
      contestant: what was tuned.
      setting: its learning rate.
      bracketed: whether rates were tried on both sides of it; where none were, none was to be.
      screened: the median score that chose it; +inf where nothing was chosen.
      metrics: of the confirming runs by name, a replicate each; +inf where one is not finite.
    """

    contestant: Contestant
    setting: Setting
    bracketed: bool
    screened: float
    metrics: Mapping[str, Float[np.ndarray, "replicates"]]


class Results(Outcomes[Config, Contestant, Outcome]):
    """A finished study; see `Outcomes`."""

    def by_radius(self, method: str, view: str, flipped: float) -> list[Outcome]:
        """A method's outcomes in a comparison, one a radius, ascending."""
        steps = self.config.steps(method, view)
        radii = self.config.radii_of(method)
        return [self.outcomes[Contestant(method, steps, flipped, radius)] for radius in radii]

    def best(self, method: str, view: str, flipped: float) -> Outcome:
        """That with the radius of the best screening."""
        return min(self.by_radius(method, view, flipped), key=lambda outcome: outcome.screened)


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every contestant that has something to tune, and measure all of them."""
    outcomes = {}
    for method in config.compared:
        evaluate = runs.evaluator(partial(runner, method, config), SCORE, config.chunk_runs)
        for contestant in config.contestants(method):
            outcomes[contestant] = outcome(contestant, config, evaluate, runs)
    return Results(config, outcomes, runs.journal.tally())


def outcome(contestant: Contestant, config: Config, evaluate: Evaluate, runs: Runs) -> Outcome:
    centre = contestant.rules.centre
    if centre is None:
        setting, bracketed, screened = Setting(0, FIRST_RATE), True, np.inf
        confirmed(contestant, setting, config, evaluate)
    else:
        tuned = tune(contestant, centre, config, evaluate)
        setting, bracketed, screened = tuned.setting, tuned.bracketed, tuned.chosen_by
    rows = runs.journal.group(CONFIRM, contestant.name)
    metrics = {name: np.array([row.metrics[name] for row in rows]) for name in rows[0].metrics}
    worst = {name: np.where(np.isfinite(values), values, np.inf) for name, values in metrics.items()}
    return Outcome(contestant, setting, bracketed, screened, worst)


def runner(method: str, config: Config) -> Runner:
    """What trains with a method, of all lengths, labels and radii, by one program."""

    def numbers(trial: Trial) -> dict[str, ArrayLike]:
        rates = config.learning_rates(trial.contestant, trial.base_lr)
        return {**trial.numbers, "learning_rates": rates, "measured": trial.stage == CONFIRM}

    def departure(trial: Trial) -> Departure:
        return Departure(trial.identity, start=0, until=trial.contestant.steps)

    program = Program(partial(trained, method, config), dict, departure=departure)
    data = workloads.load("digits").data
    return program.runner(data, config.seed, numbers)


def trained(method: str, config: Config, row: Mapping[str, Array], data: Any) -> workloads.Stages:
    """One run, to its metrics at the end, and where it is measured the curvature there."""
    key = row["key"]
    sizes = config.train_size, config.validation_size
    split = draw_split(named_key(key, "split"), data, row["flipped"], *sizes)
    workload = network(config.width, split)
    stages = trainer(
        config,
        workload,
        split,
        partial(transformation, method, config, row),
        row["learning_rates"],
        named_key(key, "run"),
        batch_size=config.batch_size,
    )

    def metrics(run: workloads.Run) -> dict[str, Float[Array, ""]]:
        run = stages.finish(run)
        curved = jax.lax.cond(
            row["measured"],
            lambda: curvature(workload, run.evaluated, split, named_key(key, "curvature")),
            lambda: dict.fromkeys((LARGEST, TRACE), jnp.float32(jnp.nan)),
        )
        own = {RATE: optax.tree_utils.tree_get(run.optimizer_state, "eta")} if method in FORMS else {}
        return {name: values[-1] for name, values in run.metrics.items()} | curved | own

    return stages._replace(finish=metrics)


def transformation(
    method: str, config: Config, row: Mapping[str, Array], schedule: optax.Schedule
) -> optax.GradientTransformation:
    if method in FORMS:
        return optim.smoothness_adaptive(FIRST_RATE, form=FORMS[method])
    optimizer = OPTIMIZERS[method]
    if METHODS[method].radius:
        optimizer = optimizer._replace(around=optimizer.around.changed(radius=row["radius"]))
    noise = {"examples": config.train_size, "b2": IVON_B2} if method == "ivon" else {}
    return optimizer.build(schedule, 0.0, **noise)
