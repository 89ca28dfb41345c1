"""The runs of a study of cooldowns, and what they show: everything screened, what was chosen confirmed."""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

import optim
from experiments.cooldown.config import Config
from experiments.cooldown.endings import (
    CLAIMED,
    CONFIRM,
    FROM_SCRATCH,
    ONE_RATE,
    SCRATCH,
    SCREEN,
    WHOLE,
    Course,
    Ending,
    ScheduleFree,
    Setting,
    Trial,
    contestants,
    cooldowns,
)
from experiments.study.options.metrics import curve_metric
from experiments.study.running.runs import Runner, Runs
from experiments.study.running.sweeping import Departure
from experiments.study.storage.journal import Tally
from experiments.study.training.programs import Program, Row, final_metrics, trainer

Scores = Float[np.ndarray, "replicates"]
Training = Callable[[Config, Row], dict[str, Any]]
Chosen = Mapping[str | float, tuple[Setting, ...]]  # by what is compared, one a horizon


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was tried.
      screened: the median loss of everything that was tried.
      contestants: what was chosen of each, by name.
      forms: of each form over all lengths.
      lengths: of each length over all forms.
      wholes: by horizon, what the search through whole runs chose.
      confirmed: the losses of everything chosen, of the same fresh seeds.
      scratch: of the claimed cooldown, those of whole runs of other seeds, by horizon.
      tally: how many runs there were.
    """

    config: Config
    screened: Mapping[Setting, float]
    contestants: Chosen
    forms: Chosen
    lengths: Chosen
    wholes: Mapping[int, Setting]
    confirmed: Mapping[Setting, Scores]
    scratch: Mapping[int, Scores]
    tally: Tally


def conclude(config: Config, runs: Runs) -> Results:
    """Screen everything, search through whole runs too, and score what was chosen with fresh seeds."""
    losses, searched = evaluated(config, runs), cooldowns(config)
    endings = dict.fromkeys(ending for group in contestants(config).values() for ending in group)
    screened = medians(losses(SCREEN, settings(endings, config.horizons, config)))
    by_whole_runs = medians(losses(WHOLE, settings(searched, config.searched, config)))

    def chosen(groups: Mapping[str | float, Sequence[Ending]]) -> dict[str | float, tuple[Setting, ...]]:
        return {
            name: tuple(best(group, horizon, screened) for horizon in config.horizons)
            for name, group in groups.items()
        }

    winners = chosen(contestants(config))
    winners[ONE_RATE] = tuple(winners[CLAIMED][-1]._replace(horizon=horizon) for horizon in config.horizons)
    forms = chosen({form: [c for c in searched if c.form == form] for form in config.all_forms})
    lengths = chosen({length: [c for c in searched if c.length == length] for length in config.all_lengths})
    wholes = {horizon: best(searched, horizon, by_whole_runs) for horizon in config.searched}
    groups = (*winners.values(), *forms.values(), *lengths.values(), wholes.values())
    confirmed = losses(CONFIRM, dict.fromkeys(itertools.chain.from_iterable(groups)))
    scratch = losses(SCRATCH, winners[CLAIMED])
    by_horizon = {setting.horizon: scores for setting, scores in scratch.items()}
    tally = runs.journal.tally()
    return Results(config, screened, winners, forms, lengths, wholes, confirmed, by_horizon, tally)


def settings(endings: Iterable[Ending], horizons: Sequence[int], config: Config) -> list[Setting]:
    """These endings at these horizons, each after a trunk of every learning rate."""
    places = range(len(config.learning_rates))
    return [Setting(*kind) for kind in itertools.product(endings, horizons, places)]


def medians(losses: Mapping[Setting, Scores]) -> dict[Setting, float]:
    return {setting: float(np.median(scores)) for setting, scores in losses.items()}


def best(endings: Sequence[Ending], horizon: int, losses: Mapping[Setting, float]) -> Setting:
    """The setting of the least loss among these endings at a horizon."""
    candidates = (setting for setting in losses if setting.horizon == horizon and setting.ending in endings)
    return min(candidates, key=losses.__getitem__)


def evaluated(config: Config, runs: Runs) -> Callable[[str, Iterable[Setting]], dict[Setting, Scores]]:
    """(stage, settings) → the losses of each, a replicate each; +inf where a run diverged."""
    counts = dict.fromkeys((SCREEN, WHOLE), config.screen_replicates)
    counts |= dict.fromkeys((CONFIRM, SCRATCH), config.confirm_replicates)
    evaluators = {
        training: runs.evaluator(partial(runner, training, config, runs), config.metric, config.trunk_runs)
        for training in (trunk_training, schedule_free_training)
    }

    def trials(stage: str, setting: Setting) -> list[Trial]:
        run, rate = setting.run(config), config.learning_rates[setting.place]
        return [Trial(stage, run, rate, replicate) for replicate in range(counts[stage])]

    def losses(stage: str, settings: Iterable[Setting]) -> dict[Setting, Scores]:
        places = range(len(config.learning_rates))  # trunks of one learning rate are trained together
        for place, training in itertools.product(places, evaluators):
            shared = [s for s in settings if (s.place, training_of(s.ending)) == (place, training)]
            made = dict.fromkeys(trial for setting in shared for trial in trials(stage, setting))
            if made:
                evaluators[training](list(made))
        found = runs.journal.metrics(stage)

        def scores(setting: Setting) -> Scores:
            name = curve_metric(config.metric, setting.horizon)
            values = np.array([found[trial.identity][name] for trial in trials(stage, setting)])
            return np.where(np.isfinite(values), values, np.inf)

        return {setting: scores(setting) for setting in settings}

    return losses


def runner(training: Training, config: Config, runs: Runs) -> Runner:
    """What trains all endings of a kind with one program: learning rates, and how the weights are averaged,
    are numbers of a row."""

    @functools.cache
    def course(ending: Ending, horizon: int) -> Course:
        return ending.course(horizon, config)

    def numbers(trial: Trial) -> dict[str, ArrayLike]:
        ending, horizon, _ = trial.setting
        rates = trial.base_lr * np.asarray(course(ending, horizon).multipliers)
        return {
            "learning_rates": np.pad(rates, (0, config.longest - horizon)).astype(np.float32),
            "average_decay": config.average_decay or 0.0,
            **ending.average,
            "until": horizon,
        }

    def departure(trial: Trial) -> Departure:
        ending, horizon, place = trial.setting
        start = 0 if trial.stage in FROM_SCRATCH else course(ending, horizon).start
        return Departure((trial.seed, place, *ending.average.values()), start, horizon)

    def train(row, data):
        trained = trainer(
            config,
            runs.workload,
            data,
            learning_rates=row["learning_rates"],
            key=row["key"],
            batch_size=config.batch_size,
            evaluate_at=config.horizons,
            **training(config, row),
        )
        return trained._replace(finish=lambda run: (trained.finish(run).metrics, row["until"]))

    def columns(results):
        metrics, until = results
        final, evaluations = final_metrics(metrics), metrics[config.metric].T
        curve = {
            curve_metric(config.metric, step): np.select(
                [until > step, until == step], [values, final[config.metric]], np.nan
            )
            for step, values in zip(config.horizons, evaluations, strict=True)
        }
        return final | curve

    return Program(train, columns, departure=departure).runner(runs.workload.data, config.seed, numbers)


def training_of(ending: Ending) -> Training:
    """What trains the runs that end so."""
    return schedule_free_training if isinstance(ending, ScheduleFree) else trunk_training


def trunk_training(config: Config, row: Row) -> dict[str, Any]:
    """The options of `trainer` for steps that a trunk and its cooldowns take."""
    return {"optimizer": config.transformation, "average_decay": row["average_decay"]}


def schedule_free_training(config: Config, row: Row) -> dict[str, Any]:
    """Those for schedule-free steps, which keep the average that is evaluated."""
    return {
        "optimizer": lambda rate: optim.schedule_free(config.without_momentum, rate, beta=row["beta"]),
        "average_decay": None,
    }
