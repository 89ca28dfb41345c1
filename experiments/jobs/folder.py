"""A jobs folder: trials are asked for and told, by many processes at once.

Imports JAX only where trials must be proposed, which one process does for many.
"""

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.jobs.state import JobTrial, State, state_of
from experiments.jobs.store import Transaction, transaction
from experiments.jobs.telling import is_new, telling
from experiments.study.options.errors import StudyError

if TYPE_CHECKING:
    from experiments.jobs.proposing import Proposer
    from experiments.jobs.trial_files import Asked
    from schedules.search.asynchronous import Outcome

RECORD = "jobs.sqlite"
TRIALS = "trials"
BACKWARDS = 300.0  # seconds by which the clocks of two hosts may differ


def open_jobs(folder: str | Path) -> "Jobs":
    """The jobs folder that `steepest jobs create` made there. Raises StudyError where it made none."""
    return Jobs(Path(folder))


class Jobs:
    """A jobs folder, of which any number may be open, in this process and in others.

    >>> jobs = open_jobs("runs/my_job")  # doctest: +SKIP
    >>> while trial := jobs.ask("worker 1"):  # doctest: +SKIP
    ...     jobs.tell(trial.id, train(trial.learning_rates, trial.seed))
    """

    def __init__(self, path: Path):
        self.path = path
        if not self.record.exists():
            raise StudyError(f"{path} is no jobs folder: it holds no {RECORD}; see steepest jobs create.")
        self._proposer: Proposer | None = None

    @property
    def record(self) -> Path:
        return self.path / RECORD

    def status(self) -> State:
        """All trials, with what became of each."""
        with transaction(self.record, write=False) as opened:
            return state_of(opened.events)

    def ask(self, worker: str | None = None, stale_hours: float | None = None) -> "Asked | None":
        """The next trial to run; None where there is none now, or where the search is finished, as `status`
        tells. Arguments as of `ask_several`."""
        asked = self.ask_several(1, worker, stale_hours)
        return asked[0] if asked else None

    def ask_several(
        self, count: int, worker: str | None = None, stale_hours: float | None = None
    ) -> "list[Asked]":
        """Up to so many trials to run, fewer where others must be told first.

        Args:
          worker: who asks: what it has and did not tell comes first, as after a crash.
          stale_hours: a trial that another one has for longer is given to this one.

        Raises StudyError for hours that are negative, or where the clock is behind what was recorded so that
        nobody can tell how old a trial is.
        """
        from experiments.jobs.trial_files import Asked  # NumPy's import is a part of what others take

        with transaction(self.record) as opened:
            now = time.time()
            if stale_hours is not None:
                _release_stale(opened, worker, stale_hours, now)
            state = state_of(opened.events)
            mine = [trial for trial in state.pending if worker is not None and trial.worker == worker]
            trials = [*mine[:count], *self._claimed(opened, count - len(mine), worker, now)]
            asked = [Asked.of(trial, opened.array(trial.multipliers), state) for trial in trials]
        for trial in asked:
            trial.write(self.path / TRIALS)
        return asked

    def tell(
        self,
        trial: str,
        value: float | None = None,
        *,
        sem: float | None = None,
        step: int | None = None,
        metrics: Mapping[str, float] | None = None,
        failed: bool = False,
        diverged: bool = False,
        replace: bool = False,
    ) -> None:
        """Record what came of a trial. The same once more changes nothing.

        Args:
          trial: its id.
          value: of the metric that is searched; none where the run failed or diverged.
          sem: the standard error of the value, where it is a mean.
          step: the number of steps that were done, where they are not all: a value on the way.
          metrics: others, to be shown beside it.
          failed: the run came to no end, through no fault of its schedule; it is asked for again.
          diverged: the loss is NaN or infinite: the worst that there is.
          replace: correct what was told before.

        Raises StudyError where any of it is not sound, or differs from what was told before.
        """
        with transaction(self.record) as opened:
            state = state_of(opened.events)
            known = _trial_of(state, trial)
            kind, content = telling(state, value, sem, step, metrics or {}, failed, diverged)
            if is_new(known, kind, content, replace):
                opened.append(kind, trial=trial, time=time.time(), **content)

    def conclude(self, opened: Transaction) -> "Outcome | None":
        """The outcome of a search of which all is told, recorded as finished; None before."""
        state = state_of(opened.events)
        if state.exploring or any(state.score(trial) is None for trial in state.trials.values()):
            return None
        outcome = self.proposer(state).outcome(opened, state)
        if outcome and not state.finished:
            opened.append("finished")
        return outcome

    def _claimed(self, opened: Transaction, count: int, worker: str | None, now: float) -> Sequence[JobTrial]:
        """So many trials that nobody has, from now on the worker's; proposed now where there are too few."""
        claimed: list[JobTrial] = []
        while len(claimed) < count:
            state = state_of(opened.events)
            if state.open:
                opened.append("claimed", trial=state.open[0].id, worker=worker, time=now)
                claimed.append(state.open[0])
            elif not self._can_go_on(state) or not self._extend(opened, state, now):
                break
        return claimed

    def _can_go_on(self, state: State) -> bool:
        """Whether more could be proposed than there is."""
        return not state.finished and (state.exploring or not state.pending)

    def _extend(self, opened: Transaction, state: State, now: float) -> bool:
        """Propose what comes next; whether anything was."""
        earlier = len(opened.events)
        self.proposer(state).extend(opened, state, now)
        return len(opened.events) > earlier

    def proposer(self, state: State) -> "Proposer":
        """What computes; made at the first need of it."""
        if self._proposer is None:
            of_its_own = "jax" not in sys.modules  # where nothing else in this process computes with JAX
            if of_its_own:
                os.environ["JAX_PLATFORMS"] = "cpu"  # the accelerator is the job's
            from experiments.jobs.proposing import Proposer, config_of, keep_small_programs

            if of_its_own:
                keep_small_programs()
            self._proposer = Proposer(config_of(state.config))
        return self._proposer


def _release_stale(opened: Transaction, worker: str | None, hours: float, now: float) -> None:
    if not 0 <= hours < math.inf:
        raise StudyError(f"stale: must be hours, finite and not negative, got {hours}.")
    state = state_of(opened.events)
    if now < state.clock - BACKWARDS:
        raise StudyError(
            f"stale: the clock is {(state.clock - now) / 3600:.3g} hours behind what was recorded last;"
            " nobody can tell how old a trial is."
        )
    for trial in state.pending:
        if now - trial.since > 3600 * hours and (worker is None or trial.worker != worker):
            opened.append("stale", trial=trial.id, time=now)


def _trial_of(state: State, name: str) -> JobTrial:
    if name not in state.trials:
        foreign = name.partition("-")[0] != state.token
        fault = "is of another folder" if foreign and "-" in name else "was never proposed"
        raise StudyError(f"trial: {name!r} {fault}; those of this one begin with {state.token}-.")
    trial = state.trials[name]
    if trial.status == "proposed" and trial.worker is None and math.isnan(trial.since):
        raise StudyError(f"trial: nobody asked for {name} yet.")
    return trial
