"""What a study of loss prediction fits and predicts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

from experiments.study.options.checks import EACH_ONCE, Between, Count, OneOf, Positive, Several, entries
from experiments.study.options.config import Group
from experiments.study.options.groups import Stepped, Trained
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimizers import OPTIMIZERS
from schedules import FAMILIES

ENTRANTS = 9  # schedules that are compared on fresh seeds, at most
LEAST_BEST = 3  # shapes that a rank correlation is of
WARMUP = 0.05
# The shapes of the fitted runs, with a peak between the smallest (0) and the largest (1) in log scale
FITTED: Sequence[tuple[str, Mapping[str, float], float]] = (
    ("constant", {"warmup": WARMUP}, 0.0),
    ("constant", {"warmup": WARMUP}, 1.0),
    ("cosine", {"warmup": WARMUP}, 1.0),
    ("linear", {"warmup": WARMUP}, 0.5),
    ("wsd", {"warmup": WARMUP, "decay": 0.3, "floor": 0.0}, 1.0),
    ("two_point_linear", {"x0": WARMUP, "y1": 0.8, "dx1": 0.4, "dx2": 0.1, "dy2": 0.4}, 1.0),
)
UNSEEN = "cosine generalized_cosine rex wsd two_point_spline smooth_nonmonotonic power free"


@dataclass(frozen=True)
class Predicted:
    """What the laws are fitted on, and what they are to predict."""

    group: ClassVar[Group] = "search"

    largest_rate: Positive = 6.0
    """The largest peak learning rate, of the runs that are fitted and of all that are predicted."""
    smallest_share: Between = 0.25
    """The smallest peak learning rate, as a fraction of the largest; also the mean learning rate of shapes
    compared at equal sums."""
    curve_points: Several = 12
    """Evaluations in each fitted run, at equal distances up to its end."""
    curve_start: Between = 0.25
    """Where the first of them is, as a fraction of the run: the paper too leaves out the beginning."""
    fit_replicates: Count = 64
    """Seeds of each fitted run; the laws are fitted on their median curves."""
    families: Annotated[tuple[str, ...], OneOf(FAMILIES), entries(1), EACH_ONCE] = tuple(UNSEEN.split())
    """Families that the unseen shapes are drawn from."""
    shapes: Count = 25
    """Unseen shapes of each family."""
    choose_replicates: Count = 128
    """Seeds of each unseen shape that say which ones are the best tenth and which is the winner."""
    score_replicates: Count = 128
    """Fresh seeds of each unseen shape that the predictions are ranked against."""
    best_fraction: Between = 0.1
    """Fraction of the shapes that count as the best, among which predictions are ranked once more."""
    confirm_replicates: Count = 200
    """Fresh seeds that compare the laws' proposals with the winner."""

    @property
    def num_shapes(self) -> int:
        return len(self.families) * self.shapes

    @property
    def num_best(self) -> int:
        """How many shapes count as the best."""
        return round(self.best_fraction * self.num_shapes)


@dataclass(frozen=True)
class Config(Predicted, Stepped, Trained, WorkloadConfig):
    """What is fitted and predicted."""

    group: ClassVar[Group] = "training"

    workload: str = "linear_regression"
    metric: str = "train_loss"
    """The loss that is predicted; it must be positive."""
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "sgd"
    """What to train with."""
    batch_size: Count = 8
    num_steps: Count = 200
    vectorize: Count = 1
    """Runs that a device computes side by side."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("num_steps", "curve_points", "curve_start") and not self._curve_has_room:
            yield f"num_steps: must leave room for curve_points={self.curve_points}, got {self.num_steps}."
        if self.sound("families", "shapes", "best_fraction") and self.num_best < LEAST_BEST:
            yield (
                f"best_fraction: must leave at least {LEAST_BEST} of {self.num_shapes} shapes,"
                f" got {self.best_fraction}."
            )

    @property
    def _curve_has_room(self) -> bool:
        return self.curve_points <= self.num_steps and len(set(self.curve_steps)) == self.curve_points

    @property
    def curve_steps(self) -> tuple[int, ...]:
        """After how many updates the fitted runs are evaluated."""
        spacing = (1 - self.curve_start) / (self.curve_points - 1)
        return tuple(
            round(self.num_steps * (self.curve_start + k * spacing)) for k in range(self.curve_points)
        )

    @property
    def planned_runs(self) -> int:
        unseen = 2 * self.num_shapes * (self.choose_replicates + self.score_replicates)
        return len(FITTED) * self.fit_replicates + unseen + ENTRANTS * self.confirm_replicates


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "linear_regression": Config(),
        "transformer": Config(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 1, "heads": 2, "context": 32},
            optimizer="adam",
            num_steps=300,
            largest_rate=0.03,
            fit_replicates=8,
            shapes=12,
            choose_replicates=4,
            score_replicates=4,
            confirm_replicates=24,
        ),
    }
)
