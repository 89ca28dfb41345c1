"""What Optuna's samplers ask for, in a search written as its users write one.

A space of several families is a categorical choice, each with parameters of its own. A sampler keeps a state
that cannot be recorded; so every batch is asked of a new one, seeded by how many trials there were, in a
study that was given the history: the asks are a function of history and key.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any

from jaxtyping import PRNGKeyArray

from experiments.study.options.errors import StudyError
from schedules.search import SearchSpace
from schedules.search.blas import on_one_thread
from schedules.search.keys import named_key
from schedules.search.strategy import numpy_generator

LARGEST_SEED = 2**31


def _tpe(optuna: ModuleType, seed: int) -> Any:
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def _gp(optuna: ModuleType, seed: int) -> Any:
    # on one thread, for the same reasons as the linear algebra; it draws what depends on the family at
    # random, and would warn of that at each ask
    importlib.import_module("torch").set_num_threads(1)
    return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)


SAMPLERS: Mapping[str, Callable[[ModuleType, int], Any]] = MappingProxyType({"tpe": _tpe, "gp": _gp})
LIBRARIES: Mapping[str, tuple[str, ...]] = MappingProxyType({"tpe": ("optuna",), "gp": ("optuna", "torch")})


def versions(samplers: Sequence[str]) -> dict[str, str]:
    """Of the libraries that these need. Raises StudyError where one is not installed."""
    return {name: _library(name).__version__ for sampler in samplers for name in LIBRARIES[sampler]}


@on_one_thread
def asked(
    sampler: str,
    spaces: Mapping[str, SearchSpace],
    made: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    size: int,
    key: PRNGKeyArray,
) -> list[dict[str, Any]]:
    """The next proposals, as JSON values.

    Args:
      sampler: its name in `SAMPLERS`.
      spaces: by family; a single one is no choice.
      made: what was proposed so far.
      scores: of those.
      size: how many to propose.
      key: of the search.
    """
    optuna = _library("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = int(numpy_generator(named_key(key, "batch", len(made))).integers(LARGEST_SEED))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that are experimental, and where a score is infinite
        study = optuna.create_study(sampler=SAMPLERS[sampler](optuna, seed))
        for proposal, score in zip(made, scores, strict=True):
            fixed = optuna.trial.FixedTrial(_flat(proposal))
            suggested(fixed, spaces)
            trial = optuna.trial.create_trial(
                params=fixed.params, distributions=fixed.distributions, value=score
            )
            study.add_trial(trial)
        return [suggested(trial, spaces) for trial in [study.ask() for _ in range(size)]]


def suggested(trial: Any, spaces: Mapping[str, SearchSpace]) -> dict[str, Any]:
    """A candidate as the objective of an Optuna study would ask for it."""
    name = next(iter(spaces)) if len(spaces) == 1 else trial.suggest_categorical("family", list(spaces))
    family, rates = spaces[name].family, spaces[name].learning_rates
    params = {
        axis: trial.suggest_float(f"{name}.{axis}", interval.low, interval.high, log=interval.log)
        for axis, interval in family.space.items()
    }
    base_lr = trial.suggest_float("base_lr", rates.low, rates.high, log=True)
    return {"family": name, "params": params, "base_lr": base_lr}


def _flat(proposal: Mapping[str, Any]) -> dict[str, Any]:
    """A proposal under Optuna's names."""
    name = proposal["family"]
    params = {f"{name}.{axis}": value for axis, value in proposal["params"].items()}
    return {"family": name, **params, "base_lr": proposal["base_lr"]}


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise StudyError(
            f"Optuna's samplers need {error.name}: pip install 'steepest[incumbents]', or leave tpe and gp"
            " out of the contestants."
        ) from None
