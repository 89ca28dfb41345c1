"""What the events of a jobs folder come to: every trial with what became of it. Imports no JAX."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from experiments.jobs.store import Event

SCREEN, CONFIRM, ADDED = "screen", "confirm", "added"  # stages, as `schedules.search` calls them
Status = Literal["proposed", "pending", "told", "diverged", "failed"]


class Told(NamedTuple):
    """What was told of a trial: the value of the metric, its standard error where known, other metrics."""

    value: float
    sem: float | None
    metrics: Mapping[str, float]


class Partial(NamedTuple):
    """A value at a step before the last."""

    step: int
    told: Told


class JobTrial(NamedTuple):
    """A run that is proposed, with what became of it.

    Attributes:
      id: its name in this folder and in no other.
      stage, family, number, params, base_lr, replicate: as of `schedules.search.Trial`.
      seed: what the job is to be seeded with; None where it ignores seeds.
      multipliers: the digest of the whole table, of all groups one after the other.
      status: told and diverged are final; what failed is asked for again.
      worker, since: who has it, and from when on by the clock, in seconds.
      failures: how many attempts failed.
      told: what came back.
      partial: what came back on the way.
      corrections: how often what was told was replaced.
    """

    id: str
    stage: str
    family: str
    number: int
    params: Mapping[str, float]
    base_lr: float
    replicate: int
    seed: int | None
    multipliers: str
    status: Status = "proposed"
    worker: str | None = None
    since: float = math.nan
    failures: int = 0
    told: Told | None = None
    partial: tuple[Partial, ...] = ()
    corrections: int = 0


class NamedTrunk(NamedTuple):
    """What runs begin with, trained once for all of them: its name, and how many steps it has."""

    name: str
    steps: int


class Imported(NamedTuple):
    """A run that was made elsewhere: a name, the digest of its learning rates as the model sees them, of all
    groups one after the other, and its score; None where it diverged."""

    name: str
    learning_rates: str
    value: float | None


class State(NamedTuple):
    """A jobs folder at a moment.

    Attributes:
      config: the content of config.json.
      token: what begins the name of every trial.
      explored: how many runs the exploration has.
      trials: by their names, in the order in which they were proposed.
      imported: runs of elsewhere.
      own: the digests of the multipliers of schedules that the user added, by their names.
      decisions: what the search decided, by name.
      finished: whether the search has its verdict.
      clock: the latest time that an event was recorded at.
    """

    config: Mapping[str, Any] = MappingProxyType({})
    token: str = ""
    explored: int = 0
    trials: Mapping[str, JobTrial] = MappingProxyType({})
    imported: tuple[Imported, ...] = ()
    own: Mapping[str, str] = MappingProxyType({})
    decisions: Mapping[str, Any] = MappingProxyType({})
    finished: bool = False
    clock: float = -math.inf

    def score(self, trial: JobTrial) -> float | None:
        """What the search is told: lower is better, +inf where the run diverged, or failed as often as
        allowed; None where nothing is known yet."""
        if trial.status == "diverged" or self.given_up(trial):
            return math.inf
        return self.sign * trial.told.value if trial.status == "told" else None

    @property
    def groups(self) -> tuple[str, ...]:
        """Of parameters, each with a curve of its own; none where all have one."""
        return tuple(self.config.get("groups", ()))  # records of before have no such key

    def trunk(self, trial: JobTrial) -> NamedTrunk | None:
        """What the trial goes on from, as all with its seed do; None where it begins anew."""
        steps = self.config.get("trunk_steps", 0)  # as of groups
        seed = "" if trial.seed is None else f"-{trial.seed}"
        return NamedTrunk(f"{self.token}-trunk{seed}", steps) if steps else None

    @property
    def sign(self) -> int:
        return -1 if self.config["maximize"] else 1

    def name_of(self, number: int) -> str:
        """That of the trial with this number, from one on."""
        return f"{self.token}-{number:04d}"

    def given_up(self, trial: JobTrial) -> bool:
        """Whether it failed as often as allowed."""
        return trial.status == "failed" and trial.failures >= self.config["attempts"]

    @property
    def open(self) -> list[JobTrial]:
        """Those that nobody has, in the order in which they are given out."""
        return [
            trial
            for trial in self.trials.values()
            if trial.status in ("proposed", "failed") and not self.given_up(trial)
        ]

    @property
    def pending(self) -> list[JobTrial]:
        """Those that somebody has."""
        return [trial for trial in self.trials.values() if trial.status == "pending"]

    @property
    def exploring(self) -> bool:
        """Whether runs of the exploration are still to be proposed."""
        return sum(trial.stage == SCREEN for trial in self.trials.values()) < self.explored


def state_of(events: Iterable[Event]) -> State:
    """The state that events lead to."""
    facts: dict[str, Any] = {"trials": {}, "imported": (), "own": {}, "decisions": {}}
    for kind, content in events:
        if "time" in content:
            facts["clock"] = max(facts.get("clock", -math.inf), content["time"])
        _HANDLERS[kind](facts, content)
    return State(**facts)


def _created(facts: dict[str, Any], content: Mapping[str, Any]) -> None:
    facts.update({name: content[name] for name in ("config", "token", "explored")})


def _proposed(facts: dict[str, Any], content: Mapping[str, Any]) -> None:
    facts["trials"].update({trial["id"]: JobTrial(**trial) for trial in content["trials"]})


def _added(facts: dict[str, Any], content: Mapping[str, Any]) -> None:
    facts["own"][content["name"]] = content["multipliers"]


def _imported(facts: dict[str, Any], content: Mapping[str, Any]) -> None:
    facts["imported"] += tuple(Imported(**run) for run in content["runs"])


def _decided(facts: dict[str, Any], content: Mapping[str, Any]) -> None:
    facts["decisions"][content["name"]] = content["value"]


def _finished(facts: dict[str, Any], content: Mapping[str, Any]) -> None:
    facts["finished"] = True


def _claimed(trial: JobTrial, content: Mapping[str, Any]) -> JobTrial:
    return trial._replace(status="pending", worker=content["worker"], since=content["time"])


def _stale(trial: JobTrial, content: Mapping[str, Any]) -> JobTrial:
    return trial._replace(status="proposed", worker=None)


def _told(trial: JobTrial, content: Mapping[str, Any]) -> JobTrial:
    return _corrected(trial)._replace(status="told", told=_told_of(content))


def _partial(trial: JobTrial, content: Mapping[str, Any]) -> JobTrial:
    others = (partial for partial in trial.partial if partial.step != content["step"])
    return trial._replace(partial=(*others, Partial(content["step"], _told_of(content))))


def _diverged(trial: JobTrial, content: Mapping[str, Any]) -> JobTrial:
    return _corrected(trial)._replace(status="diverged")


def _failed(trial: JobTrial, content: Mapping[str, Any]) -> JobTrial:
    return _corrected(trial)._replace(status="failed", failures=trial.failures + 1)


def _corrected(trial: JobTrial) -> JobTrial:
    """Without what was told before, if anything was."""
    final = trial.status in ("told", "diverged", "failed")
    return trial._replace(told=None, corrections=trial.corrections + final)


def _told_of(content: Mapping[str, Any]) -> Told:
    metrics = {name: math.nan if value is None else value for name, value in content["metrics"].items()}
    return Told(content["value"], content["sem"], metrics)


def _of_trial(change):
    def handler(facts: dict[str, Any], content: Mapping[str, Any]) -> None:
        trials = facts["trials"]
        trials[content["trial"]] = change(trials[content["trial"]], content)

    return handler


_HANDLERS = {
    "created": _created,
    "proposed": _proposed,
    "imported": _imported,
    "added": _added,
    "decided": _decided,
    "finished": _finished,
    "claimed": _of_trial(_claimed),
    "stale": _of_trial(_stale),
    "told": _of_trial(_told),
    "partial": _of_trial(_partial),
    "diverged": _of_trial(_diverged),
    "failed": _of_trial(_failed),
}
