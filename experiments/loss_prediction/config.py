"""What a study of loss prediction fits and predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from experiments.study.choices import StudyError, choice_problem
from experiments.study.optimizers import OPTIMIZERS
from experiments.study.options import WorkloadOptions
from schedules import FAMILIES

ENTRANTS = 9  # schedules that are compared on fresh seeds, at most
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


@dataclass(frozen=True)
class Config:
    """What is fitted and predicted; it alone decides the results, bit for bit."""

    workload: str = "linear_regression"
    """What to train."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: dimension 128."""
    optimizer: str = "sgd"
    """What to train with."""
    metric: str = "train_loss"
    """The loss that is predicted; it must be positive."""
    batch_size: int = 8
    """Examples in a step."""
    num_steps: int = 200
    """Steps in a run."""
    largest_rate: float = 6.0
    """The largest peak learning rate, of the runs that are fitted and of all that are predicted."""
    smallest_share: float = 0.25
    """The smallest peak learning rate, as a fraction of the largest; also the mean learning rate of shapes
    compared at equal sums."""
    curve_points: int = 12
    """Evaluations in each fitted run, at equal distances up to its end."""
    curve_start: float = 0.25
    """Where the first of them is, as a fraction of the run: the paper too leaves out the beginning."""
    fit_replicates: int = 64
    """Seeds of each fitted run; the laws are fitted on their median curves."""
    families: tuple[str, ...] = (
        "cosine",
        "generalized_cosine",
        "rex",
        "wsd",
        "two_point_spline",
        "smooth_nonmonotonic",
        "power",
        "free",
    )
    """Families that the unseen shapes are drawn from."""
    shapes: int = 25
    """Unseen shapes of each family."""
    choose_replicates: int = 128
    """Seeds of each unseen shape that say which ones are the best tenth and which is the winner."""
    score_replicates: int = 128
    """Fresh seeds of each unseen shape that the predictions are ranked against."""
    best_fraction: float = 0.1
    """Fraction of the shapes that count as the best, among which predictions are ranked once more."""
    confirm_replicates: int = 200
    """Fresh seeds that compare the laws' proposals with the winner."""
    vectorize: int = 1
    """Runs that a device computes side by side."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""

    def __post_init__(self):
        problems = [
            choice_problem("optimizer", self.optimizer, OPTIMIZERS),
            *(choice_problem("families", name, FAMILIES) for name in self.families),
            *self._number_problems(),
        ]
        if len(set(self.families)) < len(self.families) or not self.families:
            problems.append(f"families: needs at least one, each once, got {self.families}.")
        if any(problems):
            raise StudyError("\n".join(filter(None, problems)))

    def _number_problems(self) -> list[str]:
        least = {
            "batch_size": 1,
            "curve_points": 2,
            "fit_replicates": 1,
            "shapes": 1,
            "choose_replicates": 1,
            "score_replicates": 1,
            "confirm_replicates": 1,
            "vectorize": 1,
        }
        problems = [
            f"{name}: must be at least {low}, got {getattr(self, name)}."
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        for name in ("smallest_share", "curve_start", "best_fraction", "confidence"):
            if not 0 < getattr(self, name) < 1:
                problems.append(f"{name}: must be between 0 and 1, got {getattr(self, name)}.")
        if not 0 < self.largest_rate < float("inf"):
            problems.append(f"largest_rate: must be positive and finite, got {self.largest_rate}.")
        if not problems and len(set(self.curve_steps)) < self.curve_points:
            problems.append(
                f"num_steps: must leave room for curve_points={self.curve_points}, got {self.num_steps}."
            )
        if not problems and self.num_best < 3:
            problems.append(
                f"best_fraction: must leave at least 3 of {self.num_shapes} shapes, got {self.best_fraction}."
            )
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        return problems

    @property
    def curve_steps(self) -> tuple[int, ...]:
        """After how many updates the fitted runs are evaluated."""
        spacing = (1 - self.curve_start) / (self.curve_points - 1)
        return tuple(
            round(self.num_steps * (self.curve_start + k * spacing)) for k in range(self.curve_points)
        )

    @property
    def num_shapes(self) -> int:
        return len(self.families) * self.shapes

    @property
    def num_best(self) -> int:
        """How many shapes count as the best."""
        return round(self.best_fraction * self.num_shapes)

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
