"""What a jobs folder asks for next; the one part of it that computes, and so imports JAX."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.jobs.config import JobsConfig
from experiments.jobs.state import JobTrial, State
from experiments.jobs.store import Transaction
from experiments.study.running.devices import keep_compiled_programs
from schedules import Family, Interval
from schedules.search import Candidate, Trial, named_key
from schedules.search.asynchronous import History, Outcome, next_step

EXPONENTS = Interval(0.5, 2.0)  # of a schedule of the user's own, where the search varies it


def config_of(content: Mapping[str, Any]) -> JobsConfig:
    """The config that a record holds."""
    return JobsConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in content.items()})


def keep_small_programs() -> None:
    """Keep what is compiled for the next process, also what took no second: there are dozens of families."""
    keep_compiled_programs()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@dataclass(frozen=True, eq=False)
class _RecordedCandidate(Candidate):
    """A candidate whose table the model sees whole: it is read, not computed again."""

    table: Float[np.ndarray, "*groups steps"]

    def multipliers(self, num_steps: int) -> Float[np.ndarray, "*groups steps"]:
        return self.table


class Proposer:
    """Proposes trials of one folder, and remembers their curves from one time to the next."""

    def __init__(self, config: JobsConfig):
        self._config = config
        self._key = named_key(jax.random.key(config.seed), "jobs")
        # the same objects for the same trials and names: curves and programs are kept by them
        self._candidates: dict[str, Candidate] = {}
        self._spaces = config.spaces

    def extend(self, transaction: Transaction, state: State, now: float) -> None:
        """Append the trials that come next, and what was decided on the way, or that the search is finished;
        nothing where those asked for earlier are to be told first."""
        trials, outcome = self._step(transaction, state)
        if outcome:
            transaction.append("finished")
        elif trials:
            first = len(state.trials) + 1
            proposed = [
                self.described(trial, state.name_of(number), transaction)
                for number, trial in enumerate(trials, first)
            ]
            transaction.append("proposed", time=now, trials=proposed)

    def outcome(self, transaction: Transaction, state: State) -> Outcome | None:
        """That of a finished search; None before."""
        return self._step(transaction, state)[1]

    def _step(self, transaction: Transaction, state: State) -> tuple[tuple[Trial, ...], Outcome | None]:
        for name, digest in state.own.items():
            if name not in self._spaces:
                family = own_family(name, np.frombuffer(transaction.array(digest), np.float32))
                self._spaces[name] = self._config.space(family)
        history, once = self._history(state, transaction), _recorded_once(transaction, state)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):  # a job beside it may need the others
            return next_step(self._spaces, self._config.budget, self._key, history, once)

    def _history(self, state: State, transaction: Transaction) -> History:
        num_steps = self._config.budget.num_steps
        asked = {}
        for trial in state.trials.values():
            candidate = self._candidate(trial, transaction)
            asked[Trial(trial.stage, candidate, num_steps, trial.replicate)] = state.score(trial)
        told = {trial.identity: score for trial, score in asked.items() if score is not None}
        curves = [np.frombuffer(transaction.array(run.learning_rates), np.float32) for run in state.imported]
        values = np.array(
            [math.inf if run.value is None else state.sign * run.value for run in state.imported]
        )
        imported = np.reshape(curves, (len(curves), *self._shape))
        return History(list(asked), told, imported, values)

    def _candidate(self, trial: JobTrial, transaction: Transaction) -> Candidate:
        if trial.id not in self._candidates:
            family = self._spaces[trial.family].family
            candidate = Candidate(family, trial.number, trial.params, trial.base_lr)
            if self._config.num_steps == self._config.budget.num_steps:
                table = np.frombuffer(transaction.array(trial.multipliers), np.float32)
                candidate = _RecordedCandidate(**vars(candidate), table=table.reshape(self._shape))
            self._candidates[trial.id] = candidate
        return self._candidates[trial.id]

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of the learning rates of a run, as the model sees them."""
        groups, num_steps = len(self._config.groups), self._config.budget.num_steps
        return (groups, num_steps) if groups else (num_steps,)

    def described(self, trial: Trial, name: str, transaction: Transaction) -> dict[str, Any]:
        """A trial as an event holds it; its multipliers are kept."""
        candidate = trial.candidate
        seed = None if self._config.unseeded else self._seed(trial)
        multipliers = candidate.multipliers(self._config.num_steps)
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


def own_family(name: str, multipliers: Float[np.ndarray, "steps"]) -> Family:
    """A schedule of the user's own as a family: it to a power, 1 for the schedule as it is."""
    curve = functools.partial(_power_of_table, table=tuple(multipliers.tolist()))
    return Family(name, curve, {"exponent": EXPONENTS}, {"exponent": EXPONENTS})


def _power_of_table(
    x: Float[Array, "*batch"], exponent: Float[Array, ""], table: tuple
) -> Float[Array, "*batch"]:
    """The table at x = t / T for its rows t, with straight lines between them."""
    places = jnp.arange(len(table)) / len(table)
    return jnp.interp(x, places, jnp.array(table)) ** exponent


def _recorded_once(transaction: Transaction, state: State) -> Callable[[str, Callable[[], Any]], Any]:
    """See `schedules.search.Once`: decisions are events."""
    decisions = dict(state.decisions)

    def once(name: str, make: Callable[[], Any]) -> Any:
        if name not in decisions:
            decisions[name] = make()
            transaction.append("decided", name=name, value=decisions[name])
        return decisions[name]

    return once
