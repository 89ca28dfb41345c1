"""Which networks are trained to one training loss, and what is measured of them."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

from jaxtyping import PRNGKeyArray

from experiments.generalization.config import RATE_FACTOR, Rates
from experiments.study.options.checks import EACH_ONCE, Check, Count, OneOf, Positive, at_least, entries
from experiments.study.options.config import StudyConfig
from experiments.study.options.groups import Trained
from experiments.study.storage.journal import Identity, label
from experiments.study.training.tuning import Decays
from geometry.measures import FAMILIES
from schedules.search import named_key
from workloads.datasets.all_digits import IMAGES

CENTRES: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates of each optimizer
    {"sgd": 0.3, "momentum": 0.05, "adam": 0.01, "adamw": 0.01}
)
LEAST_IMAGES = 8  # one for each batch of the measures of gradients
REPLICATE = "replicate"


@dataclass(frozen=True)
class AllMeasures(Trained, StudyConfig):
    """What is studied."""

    batch_fields = ("batch_sizes",)

    widths: Annotated[tuple[Count, ...], entries(1), EACH_ONCE] = (16, 24)
    """Units of each hidden layer."""
    depths: Annotated[tuple[Count, ...], entries(1), EACH_ONCE] = (1,)
    """Hidden layers."""
    optimizers: Annotated[tuple[str, ...], OneOf(CENTRES), entries(1), EACH_ONCE] = ("momentum", "adamw")
    """What to train with."""
    batch_sizes: Annotated[tuple[Count, ...], entries(1), EACH_ONCE] = (16, 64)
    """Examples in a step."""
    rates: Rates = 3
    """Learning rates of each optimizer, constant along a run, each three times the one before."""
    decays: Decays = (0.0, 3e-5, 1e-4)
    """Fractions of a weight that a step removes."""
    replicates: Count = 16
    """Seeds of every kind of network; each begins elsewhere among the images."""
    train_size: Annotated[int, at_least(LEAST_IMAGES)] = 200
    """Images that a network trains on; it is tested on all others."""
    target_loss: Positive = 0.1
    """The training loss at which training ends."""
    most_steps: Count = 4000
    """Steps after which it ends anyway; such a network is counted and not ranked."""
    check_every: Count = 50
    """Steps from one look at the training loss to the next."""
    families: Annotated[tuple[str, ...], OneOf(FAMILIES), entries(1), EACH_ONCE] = tuple(FAMILIES)
    """Families of measures, as `geometry.measures` has them."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("train_size"):
            room = Check(f"below the {IMAGES} images that there are", lambda size: size < IMAGES)
            yield from room.problems("train_size", self.train_size)
        if self.sound("train_size", "batch_sizes"):
            drawn = Check(
                f"at most train_size={self.train_size}", lambda sizes: max(sizes) <= self.train_size
            )
            yield from drawn.problems("batch_sizes", self.batch_sizes)
        if self.sound("most_steps", "check_every") and self.most_steps % self.check_every:
            yield f"most_steps: must be a multiple of check_every={self.check_every}, got {self.most_steps}."

    @property
    def run_examples(self) -> int:
        return max(self.batch_sizes) * self.most_steps

    @property
    def chunk_runs(self) -> int:
        """Networks that are trained and recorded together."""
        return self.rates * len(self.decays) * self.replicates

    @property
    def planned_runs(self) -> int:
        return len(architectures(self)) * self.chunk_runs

    @property
    def tested(self) -> int:
        """Images that a network is tested on."""
        return IMAGES - self.train_size


class Architecture(NamedTuple):
    """That of a network, and what it is trained with: what one compiled program serves."""

    width: int
    depth: int
    optimizer: str
    batch_size: int


class Trial(NamedTuple):
    """A network: its architecture, the place of its learning rate, its decay, and a replicate's keys."""

    architecture: Architecture
    place: int
    decay: float
    replicate: int

    stage = "measure"

    @property
    def identity(self) -> Identity:
        """What makes this trial the same one in a resumed study."""
        width, depth, optimizer, batch_size = self.architecture
        group = f"{optimizer}/{width}×{depth}/{batch_size}"
        return self.stage, group, self.place, label(decay=self.decay), self.replicate

    @property
    def base_lr(self) -> float:
        return CENTRES[self.architecture.optimizer] * RATE_FACTOR**self.place

    @property
    def params(self) -> dict[str, float]:
        return {"decay": self.decay}

    @property
    def settings(self) -> dict[str, float | str]:
        """What networks differ in, by name."""
        others = {"learning rate": self.base_lr, "decay": self.decay, REPLICATE: self.replicate}
        return self.architecture._asdict() | others

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The network's key: the same for all kinds of networks of one replicate."""
        return named_key(root, self.stage, self.replicate)


def architectures(config: AllMeasures) -> list[Architecture]:
    kinds = itertools.product(config.widths, config.depths, config.optimizers, config.batch_sizes)
    return list(itertools.starmap(Architecture, kinds))


def trials(architecture: Architecture, config: AllMeasures) -> list[Trial]:
    """All networks of an architecture."""
    places = range(-(config.rates // 2), config.rates - config.rates // 2)
    kinds = itertools.product(places, config.decays, range(config.replicates))
    return [Trial(architecture, *kind) for kind in kinds]
