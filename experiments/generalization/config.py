"""What a study of generalisation trains and measures."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from experiments.study.choices import StudyError, choice_problem

CENTRES: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates of each optimizer
    {"sgd": 0.3, "momentum": 0.1, "adam": 0.01}
)
RATE_FACTOR = 3.0
RUNGS = (8, 4, 2, 1)  # a run is measured at its horizon over these
POOL = 1437  # the training images that subsets and validation images are drawn from


@dataclass(frozen=True)
class Config:
    """What is studied; it alone decides the results, bit for bit."""

    widths: tuple[int, ...] = (4, 8, 16)
    """Hidden units of the networks."""
    optimizers: tuple[str, ...] = ("momentum", "adam")
    """What to train with: sgd, momentum, adam."""
    rates: int = 5
    """Learning rates of each optimizer, constant along a run, each three times the one before."""
    train_sizes: tuple[int, ...] = (100, 200, 400, 800)
    """Numbers of training examples; each divides the largest."""
    replicates: int = 4
    """Seeds for every width, optimizer, rate and train size; each draws its own examples."""
    halving_size: int = 200
    """Number of training examples where successive halving is replayed."""
    halving_replicates: int = 16
    """Replays of successive halving, each on runs of its own seed; as many fresh seeds score the choices."""
    validation_size: int = 200
    """Examples that no run trains on, for the validation loss."""
    num_steps: int = 800
    """Steps in a run, a multiple of 8."""
    batch_size: int = 32
    """Examples in a step."""
    damping: float = 1e-3
    """What is added to every eigenvalue of the curvature, in units of the loss's curvature."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""

    def __post_init__(self):
        problems = [choice_problem("optimizers", name, CENTRES) for name in self.optimizers]
        problems += self._tuple_problems() + self._number_problems()
        if any(problems):
            raise StudyError("\n".join(filter(None, problems)))

    def _tuple_problems(self) -> list[str]:
        values = {"widths": self.widths, "optimizers": self.optimizers, "train_sizes": self.train_sizes}
        problems = [
            f"{name}: needs at least one value, each once, got {value}."
            for name, value in values.items()
            if not value or len(set(value)) < len(value)
        ]
        if min(self.widths, default=1) < 1:
            problems.append(f"widths: must be at least 1, got {self.widths}.")
        sizes = (*self.train_sizes, self.halving_size)
        available = POOL - self.validation_size
        if not all(self.batch_size <= size <= available for size in sizes):
            problems.append(
                f"train_sizes, halving_size: must be in [{self.batch_size}, {available}], from the batch size"
                f" to the training images without the validation ones, got {sizes}."
            )
        elif any(self.largest_size % size for size in sizes):
            problems.append(f"train_sizes, halving_size: must divide the largest of them, got {sizes}.")
        return problems

    def _number_problems(self) -> list[str]:
        least = {
            "rates": 1,
            "replicates": 1,
            "halving_replicates": 1,
            "validation_size": 1,
            "num_steps": RUNGS[0],
            "batch_size": 1,
            "damping": 0,
        }
        problems = [
            f"{name}: must be at least {low}, got {getattr(self, name)}."
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if self.num_steps % RUNGS[0]:
            problems.append(f"num_steps: must be a multiple of {RUNGS[0]}, got {self.num_steps}.")
        if not 0 < self.confidence < 1:
            problems.append(f"confidence: must be between 0 and 1, got {self.confidence}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        return problems

    @property
    def largest_size(self) -> int:
        return max(*self.train_sizes, self.halving_size)

    @property
    def chunk_runs(self) -> int:
        """Runs that are trained and recorded together."""
        return self.rates * self.replicates * len(self.train_sizes)

    @property
    def score(self) -> str:
        """The metric that decides whether a run diverged."""
        return f"test_loss@{self.num_steps}"

    @property
    def rungs(self) -> tuple[int, ...]:
        """After how many steps the runs are measured."""
        return tuple(self.num_steps // part for part in RUNGS)
