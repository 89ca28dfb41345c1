"""What is compared: methods of workers that communicate, at their intervals, on even and on skewed shards."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Int, PyTree

from experiments.study.options.checks import (
    ASCENDING,
    EACH_ONCE,
    Between,
    Count,
    NotNegative,
    OneOf,
    Positive,
    at_most,
    entries,
)
from experiments.study.options.groups import Curved, Scheduled
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.tuning import MoreRates, RateBudget
from workloads import Workload

REFERENCE = "ddp"
MOST_WORKERS = 127

Family = Literal["local", "lion", "signs", "low_rank"]
Shards = Literal["even", "skewed"]


class Method(NamedTuple):
    """How workers learn from one another.

    Attributes:
      family: what one compiled program serves.
      centre: the middle of the learning rates tried.
      spaced: whether it communicates at intervals alone; otherwise at every step.
      outer: the rate and the momentum of its outer step, those of a mean where nothing else is said.
      mixes: whether a worker is drawn to the anchor by chance.
      begins_late: whether the first steps average gradients.
      lonely: whether there is one worker, whatever is said of them.
    """

    family: Family
    centre: float
    spaced: bool = False
    outer: tuple[float, float] = (1.0, 0.0)
    mixes: bool = False
    begins_late: bool = False
    lonely: bool = False


NESTEROV = (0.7, 0.9)
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        REFERENCE: Method("local", 0.01),
        "local_sgd": Method("local", 0.01, spaced=True),
        "post_local_sgd": Method("local", 0.01, spaced=True, begins_late=True),
        "diloco": Method("local", 0.005, spaced=True, outer=NESTEROV),
        "palsgd": Method("local", 0.005, spaced=True, outer=NESTEROV, mixes=True),
        "snoo": Method("local", 0.005, spaced=True, outer=NESTEROV, lonely=True),
        "lion": Method("lion", 0.002),
        "vote": Method("signs", 0.002),
        "lion_cub": Method("signs", 0.002),
        "dion": Method("low_rank", 0.02),
        "orth_dion": Method("low_rank", 0.02),
    }
)


class Contestant(NamedTuple):
    """A method in one setting.

    Attributes:
      method: its name.
      workers: K.
      shards: "even", or "skewed" by label.
      every: H; 1 where it communicates at every step.
      mix_probability: p.
      mix: η, the pull to the anchor over the learning rate.
    """

    method: str
    workers: int
    shards: Shards
    every: int = 1
    mix_probability: float = 0.0
    mix: float = 0.0

    @property
    def rules(self) -> Method:
        return METHODS[self.method]

    @property
    def title(self) -> str:
        """Without the workers and their shards.

        >>> Contestant("palsgd", 4, "even", 8, 0.2, 0.5).title
        'palsgd H=8 p=0.2 η=0.5'
        """
        words = [self.method]
        if self.rules.spaced:
            words.append(f"H={self.every}")
        if self.rules.mixes:
            words.append(f"p={self.mix_probability:g} η={self.mix:g}")
        return " ".join(words)

    @property
    def name(self) -> str:
        return f"{self.title} K={self.workers} {self.shards}"

    @property
    def numbers(self) -> dict[str, float]:
        _, workers, _, every, mix_probability, mix = self
        return {"workers": workers, "every": every, "mix_probability": mix_probability, "mix": mix}


@dataclass(frozen=True)
class Config(Scheduled, Curved, RateBudget, WorkloadConfig):
    """What is compared."""

    methods: Annotated[tuple[str, ...], OneOf(METHODS), EACH_ONCE, entries(1)] = tuple(METHODS)
    """What to compare; ddp is always added, to compare with."""
    workers: Annotated[tuple[Annotated[Count, at_most(MOST_WORKERS)], ...], ASCENDING, entries(1)] = (4, 8)
    """Numbers of workers, which share every batch."""
    intervals: Annotated[tuple[Count, ...], ASCENDING, entries(1)] = (1, 8, 32, 128)
    """Steps from one boundary to the next, of methods that have boundaries."""
    shards: Annotated[tuple[Shards, ...], EACH_ONCE, entries(1)] = ("even", "skewed")
    """Whose examples a worker sees: a random share, or those of few labels (of one part of a text)."""
    mixes: Annotated[tuple[Positive, ...], EACH_ONCE, entries(1)] = (0.5, 1.0)
    """Pulls of palsgd to the anchor, over its learning rate."""
    mix_probability: Between = 0.2
    """How often a worker of palsgd mixes and takes no gradient."""
    late_share: Between = 0.25
    """Of a run, before post_local_sgd takes its first local step."""
    gradient_seconds: Positive = 1e-3
    """What a worker's gradient takes, in the simulated time."""
    latency_seconds: NotNegative = 1e-5
    """What each of the 2(K - 1) hops of an all-reduce takes beside its bytes."""
    gigabits: Annotated[tuple[Positive, ...], EACH_ONCE, entries(1)] = (400.0, 25.0, 1.0)
    """A second, of the links that time is simulated for."""
    schedule: Literal["linear", "cosine", "constant"] = "constant"
    num_steps: Count = 256
    curve_points: Count = 16
    """Evaluations along each run."""
    more_rates: MoreRates = 2
    screen_replicates: Count = 2
    confirm_replicates: Count = 8

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("num_steps", "intervals") and self.intervals[-1] > self.num_steps:
            yield f"intervals: must be at most num_steps={self.num_steps}, got {self.intervals[-1]}."
        if self.sound("batch_size", "workers"):
            for workers in self.workers:
                if self.batch_size % workers:
                    yield f"workers: must divide batch_size={self.batch_size}, got {workers}."

    def workload_problems(self, workload: Workload) -> Iterator[str]:
        yield from super().workload_problems(workload)
        if labels(workload.data) is None:
            yield f"workload: {self.workload} has no examples to be shared among workers."

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        """Each method in all its settings; a lonely one once."""
        found = itertools.chain.from_iterable(
            self._settings(method, workers, shards)
            for workers, shards in itertools.product(self.workers, self.shards)
            for method in dict.fromkeys((REFERENCE, *self.methods))
        )
        return tuple(dict.fromkeys(found))

    def _settings(self, method: str, workers: int, shards: Shards) -> Iterator[Contestant]:
        rules = METHODS[method]
        if rules.lonely:
            workers, shards = 1, "even"
        for every in self.intervals if rules.spaced else (1,):
            if rules.mixes:
                yield from (
                    Contestant(method, workers, shards, every, self.mix_probability, mix)
                    for mix in self.mixes
                    if every > 1
                )
            elif every > 1 or not rules.begins_late:
                yield Contestant(method, workers, shards, every)

    def start(self, contestant: Contestant) -> int:
        """Steps of averaged gradients, all of them for a method without intervals."""
        rules = contestant.rules
        if not rules.spaced:
            return self.num_steps
        return round(self.late_share * self.num_steps) if rules.begins_late else 0


def labels(data: PyTree) -> Int[Array | np.ndarray, "examples"] | None:
    """What skewed shards are cut by: the class of an example, or the place of a block in its text."""
    if hasattr(data, "train_labels"):
        return data.train_labels
    return np.arange(len(data.train)) if hasattr(data, "train") else None


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "transformer": Config(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 2, "heads": 2, "context": 32},
            metric="test_loss",
            methods=("ddp", "local_sgd", "diloco", "palsgd", "lion", "lion_cub"),
            workers=(4,),
            intervals=(8, 32),
            shards=("even",),
            mixes=(0.5,),
            batch_size=16,
        ),
    }
)
