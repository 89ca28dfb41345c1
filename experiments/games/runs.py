"""The runs of the study: every method tuned and confirmed in every game."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.games.config import REFERENCE, Config, centre
from experiments.games.games import GAMES
from experiments.games.methods import METHODS
from experiments.games.selection import Scores
from experiments.study.running.runs import Runner, Runs
from experiments.study.storage.journal import Journal, Tally
from experiments.study.training.programs import Program
from experiments.study.training.tuning import CONFIRM, SCREEN, Named, Tuned, tune
from schedules.search import Scale, Standing, standings
from workloads import play

DISTANCE = "distance"  # what all games are scored by: from the equilibrium, or of samples
VECTORIZE = 4  # a step is small: side by side, four runs take half the time


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was compared.
      standings: by game, the methods, best first.
      medians: by game and method, those of all metrics of the confirming runs.
      screened: by game and method, the scores of all its settings.
      tally: how many runs there were.
    """

    config: Config
    standings: Mapping[str, tuple[Standing, ...]]
    medians: Mapping[str, Mapping[str, Mapping[str, float]]]
    screened: Mapping[str, Mapping[str, Scores]]
    tally: Tally


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every method in every game, and rank them."""
    ranked, medians, scores = {}, {}, {}
    for game in config.games:
        tuned = {method: tuned_in(game, method, config, runs) for method in config.compared}
        ranked[game] = standings(tuned, (REFERENCE,), config.confidence, Scale.RELATIVE)
        found = runs.journal.medians(CONFIRM)
        medians[game] = {method: found[contestant(game, method).name] for method in tuned}
        scores[game] = {method: screened(game, method, runs.journal) for method in tuned}
    return Results(config, ranked, medians, scores, runs.journal.tally())


def contestant(game: str, method: str) -> Named:
    return Named(f"{game} {method}")


def tuned_in(game: str, method: str, config: Config, runs: Runs) -> Tuned:
    """A method at its best in a game, with the scores of fresh seeds."""
    make = partial(runner, game, method, config)
    evaluate = runs.evaluator(make, DISTANCE, config.chunk_runs, VECTORIZE)
    return tune(contestant(game, method), centre(game, method), config, evaluate)


def screened(game: str, method: str, journal: Journal) -> Scores:
    """The scores of all settings of a method."""
    scores: dict[str, list[float]] = {}
    for row in journal.group(SCREEN, contestant(game, method).name):
        scores.setdefault(row.identity[3], []).append(row.score)
    return np.array([*scores.values()])


def runner(game: str, method: str, config: Config) -> Runner:
    """What plays with that method: one compiled program, whose learning rate is a number of a row."""
    played, chosen = GAMES[game](config), METHODS[method]

    def train(row, data):
        rates = jnp.full(config.num_steps, row["learning_rate"])
        turns = "simultaneous" if chosen.together else config.turns
        return play(played, chosen.build, rates, row["key"], turns=turns)

    return Program(train, columns=dict).runner((), config.seed, vectorize=VECTORIZE)
