"""What is compared: methods of both players, in several games."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar, NamedTuple

from experiments.games.methods import METHODS
from experiments.study.options.checks import EACH_ONCE, Count, NotNegative, OneOf, Several, entries
from experiments.study.options.config import Group, StudyConfig
from experiments.study.training.tuning import RateBudget
from workloads.game import Turns

REFERENCE = "sgd"


class Centres(NamedTuple):
    """The middle of the learning rates that are tried in a game first, of methods whose steps depend on the
    size of gradients, and of those whose do not."""

    gradients: float
    normalised: float


CENTRES: Mapping[str, Centres] = MappingProxyType(
    {"saddle": Centres(0.002, 0.01), "bilinear": Centres(0.1, 0.01), "gan": Centres(0.02, 0.005)}
)


def centre(game: str, method: str) -> float:
    """The middle of the learning rates of a method in a game."""
    centres = CENTRES[game]
    return centres.normalised if METHODS[method].normalised else centres.gradients


@dataclass(frozen=True)
class Selection:
    """What is asked of the luck in choosing: a group of the study's options."""

    group: ClassVar[Group] = "search"

    few_settings: Count = 25
    """Settings of the methods that are tuned less."""
    many_settings: Count = 75
    """Settings of the methods that are tuned more: by a factor that these have and others have not."""
    averaged_settings: Count = 10
    """The best settings whose mean score is told."""


@dataclass(frozen=True)
class Config(RateBudget, Selection, StudyConfig):
    """What is compared."""

    games: Annotated[tuple[str, ...], OneOf(CENTRES), EACH_ONCE, entries(1)] = tuple(CENTRES)
    """What is played: the published saddle, a bilinear game, a network that learns to draw."""
    methods: Annotated[tuple[str, ...], OneOf(METHODS), EACH_ONCE, entries(1)] = tuple(METHODS)
    """Methods of both players; sgd is always added, to compare with."""
    turns: Turns = "alternating"
    """Whether the second player sees where the first moved; extragradient moves both at once."""
    noise: NotNegative = 0.1
    """Deviation of what is added to every coordinate of the gradients of saddle and bilinear."""
    batch_size: Count = 64
    """Samples in a step of gan, of the mixture and of the generator."""
    width: Count = 32
    """Of both hidden layers of both networks of gan."""
    num_steps: Count = 3_000
    """Steps in a run; in each, both players move."""
    screen_replicates: Several = 2
    confirm_replicates: Count = 16

    @property
    def compared(self) -> tuple[str, ...]:
        """The methods, the reference included."""
        return tuple(dict.fromkeys((REFERENCE, *self.methods)))

    @property
    def planned_runs(self) -> int:
        return len(self.games) * len(self.compared) * (self.tuning_runs + self.confirm_replicates)
