"""What a jobs folder asks for next; the one part of it that computes, and so imports JAX."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.jobs.config import JobsConfig
from experiments.jobs.state import JobTrial, State
from experiments.jobs.store import Transaction
from schedules import FAMILIES
from schedules.search import Candidate, Trial, named_key
from schedules.search.asynchronous import History, Outcome, next_step


def config_of(content: Mapping[str, Any]) -> JobsConfig:
    """The config that a record holds."""
    return JobsConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in content.items()})


class Proposer:
    """Proposes trials of one folder, and remembers their curves from one time to the next."""

    def __init__(self, config: JobsConfig):
        self._config = config
        self._key = named_key(jax.random.key(config.seed), "jobs")
        self._candidates: dict[
            str, Candidate
        ] = {}  # the same object for the same trial: curves are kept by it

    def extend(self, transaction: Transaction, state: State, now: float) -> None:
        """Append the trials that come next, and what was decided on the way, or that the search is finished;
        nothing where those asked for earlier are to be told first."""
        trials, outcome = self._step(transaction, state)
        if outcome:
            transaction.append("finished")
        elif trials:
            first = len(state.trials) + 1
            proposed = [
                self._described(trial, f"{state.token}-{number:04d}", transaction)
                for number, trial in enumerate(trials, first)
            ]
            transaction.append("proposed", time=now, trials=proposed)

    def outcome(self, transaction: Transaction, state: State) -> Outcome | None:
        """That of a finished search; None before."""
        return self._step(transaction, state)[1]

    def _step(self, transaction: Transaction, state: State) -> tuple[tuple[Trial, ...], Outcome | None]:
        once = _recorded_once(transaction, state)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):  # a job beside it may need the others
            return next_step(
                self._config.spaces, self._config.budget, self._key, self._history(state, transaction), once
            )

    def _history(self, state: State, transaction: Transaction) -> History:
        num_steps = self._config.budget.num_steps
        asked = {
            Trial(trial.stage, self._candidate(trial), num_steps, trial.replicate): state.score(trial)
            for trial in state.trials.values()
        }
        told = {trial.identity: score for trial, score in asked.items() if score is not None}
        curves = [np.frombuffer(transaction.array(run.learning_rates), np.float32) for run in state.imported]
        values = np.array([state.sign * run.value for run in state.imported])
        return History(list(asked), told, np.reshape(curves, (len(curves), num_steps)), values)

    def _candidate(self, trial: JobTrial) -> Candidate:
        if trial.id not in self._candidates:
            family = FAMILIES[trial.family]
            self._candidates[trial.id] = Candidate(family, trial.number, trial.params, trial.base_lr)
        return self._candidates[trial.id]

    def _described(self, trial: Trial, name: str, transaction: Transaction) -> dict[str, Any]:
        """A trial as an event holds it; its multipliers are kept."""
        candidate = trial.candidate
        seed = None if self._config.unseeded else self._seed(trial)
        multipliers = np.asarray(candidate.family.multipliers(candidate.params, self._config.num_steps))
        return {
            "id": name,
            "stage": trial.stage,
            "family": candidate.family.name,
            "number": candidate.number,
            "params": dict(candidate.params),
            "base_lr": candidate.base_lr,
            "replicate": trial.replicate,
            "seed": seed,
            "multipliers": transaction.keep(multipliers.tobytes()),
        }

    def _seed(self, trial: Trial) -> int:
        """The same for all trials that share a replicate of a stage; every library takes 31 bits."""
        return int(jax.random.bits(trial.key(named_key(self._key, "seeds"))) >> 1)


def _recorded_once(transaction: Transaction, state: State) -> Callable[[str, Callable[[], Any]], Any]:
    """See `schedules.search.Once`: decisions are events."""
    decisions = dict(state.decisions)

    def once(name: str, make: Callable[[], Any]) -> Any:
        if name not in decisions:
            decisions[name] = make()
            transaction.append("decided", name=name, value=decisions[name])
        return decisions[name]

    return once
