"""What a study of path geometry measures."""

from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Array, Float

from experiments.study.choices import StudyError, choice_problem
from experiments.study.optimizers import OPTIMIZERS
from experiments.study.options import WorkloadOptions
from schedules import FAMILIES, Family, Interval
from schedules.search import Budget, Race, Rung

PRESCRIBED = "prescribed"
AS_IT_IS = "prescribed, untuned"
BASELINE = "cosine"  # searched in every study, as what the prescribed schedule is compared with
LEAST_PROBES = 6  # thirds of a run are compared


@dataclass(frozen=True)
class Config:
    """What is measured; it alone decides the results, bit for bit."""

    workload: str = "digits"
    """What to train; its data must have train_labels."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    metric: str = "train_loss"
    """Metric at the end of training by which schedules are judged."""
    optimizers: tuple[str, ...] = ("sgd", "momentum", "adam", "muon")
    """Whose paths are measured; sgd, whose step is prescribed, must be among them."""
    learning_rates: tuple[float, ...] = (1.0, 0.2, 0.01, 0.02)
    """Peak learning rate of each optimizer at all batch sizes; by default near the best at the middle one."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Shape of the measured runs' learning rate, without warm-up."""
    batch_sizes: tuple[int, ...] = (16, 64, 256)
    """Batch sizes whose paths are measured, ascending; the middle one is used for everything else."""
    num_steps: int = 200
    """Steps in a run."""
    probe_every: int = 5
    """Steps from one measurement to the next."""
    replicates: int = 12
    """Seeds of each measured path, with true labels and with random ones."""
    families: tuple[str, ...] = ("cosine", "constant", "wsd", "two_point_linear")
    """Families of schedules that are searched beside the prescribed one; cosine is always added."""
    base_learning_rates: tuple[float, float] = (0.03, 8.0)
    """Lowest and highest base learning rate of sgd that every schedule is searched with."""
    candidates: int = 48
    """Shapes with a learning rate that each search asks for; the prescribed one has a single shape."""
    screen_replicates: int = 2
    """Seeds for each candidate in the screening."""
    top: int = 3
    """Candidates per family that get fresh seeds after the screening."""
    select_replicates: int = 8
    """Fresh seeds that choose a family's winner among its top candidates."""
    confirm_replicates: int = 40
    """Fresh seeds that score each schedule; only these scores are reported."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""

    def __post_init__(self):
        problems = [
            *(choice_problem("optimizers", name, OPTIMIZERS) for name in self.optimizers),
            *(choice_problem("families", name, FAMILIES) for name in self.families),
            choice_problem("schedule", self.schedule, ("constant", "linear", "cosine")),
            *self._list_problems(),
            *self._number_problems(),
        ]
        if any(problems):
            raise StudyError("\n".join(filter(None, problems)))

    def _list_problems(self) -> list[str]:
        problems = []
        if "sgd" not in self.optimizers:
            problems.append(f"optimizers: sgd must be among them, got {self.optimizers}.")
        for name in ("optimizers", "families"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                problems.append(f"{name}: each may be named once, got {getattr(self, name)}.")
        if len(self.learning_rates) != len(self.optimizers) or not all(lr > 0 for lr in self.learning_rates):
            problems.append(
                "learning_rates: there must be a positive one for each of the"
                f" {len(self.optimizers)} optimizers, got {self.learning_rates}."
            )
        sizes = self.batch_sizes
        if len(sizes) < 2 or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
            problems.append(f"batch_sizes: must be at least two positive ones, ascending, got {sizes}.")
        return problems

    def _number_problems(self) -> list[str]:
        problems = [
            f"{name}: must be at least {least}, got {getattr(self, name)}."
            for name, least in (("num_steps", 1), ("probe_every", 1), ("replicates", 2))
            if getattr(self, name) < least
        ]
        if not problems and len(self.probed_steps) < LEAST_PROBES:
            problems.append(
                f"probe_every: must leave at least {LEAST_PROBES} probed steps of num_steps={self.num_steps},"
                f" got {self.probe_every}."
            )
        if not 0 < self.confidence < 1:
            problems.append(f"confidence: must be between 0 and 1, got {self.confidence}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        for build in (lambda: self.budget, lambda: self.learning_rate_range):
            try:
                build()
            except ValueError as error:
                problems.append(f"{error}.")
        return problems

    @property
    def peaks(self) -> dict[str, float]:
        """The learning rate of each optimizer."""
        return dict(zip(self.optimizers, self.learning_rates, strict=True))

    @property
    def multipliers(self) -> Float[Array, "steps"]:
        """The measured runs' learning rate at every step, as a fraction of the peak."""
        return FAMILIES[self.schedule].multipliers({"warmup": 0.0}, self.num_steps)

    @property
    def probed_steps(self) -> range:
        return range(0, self.num_steps, self.probe_every)

    @property
    def middle_batch(self) -> int:
        """The batch size of single comparisons and of all schedules."""
        return self.batch_sizes[len(self.batch_sizes) // 2]

    @property
    def searched(self) -> tuple[Family, ...]:
        names = self.families if BASELINE in self.families else (*self.families, BASELINE)
        return tuple(FAMILIES[name] for name in names)

    @property
    def learning_rate_range(self) -> Interval:
        rates = self.base_learning_rates
        if len(rates) != 2 or not 0 < rates[0] < rates[1] < float("inf"):
            raise ValueError(f"base_learning_rates: must be two, positive, finite and ascending, got {rates}")
        return Interval(*rates, log=True)

    @property
    def budget(self) -> Budget:
        """What is spent on each schedule, the prescribed one included."""
        return Budget(
            candidates=self.candidates,
            batch=4,
            race=Race((Rung(self.screen_replicates, self.num_steps),)),
            top=self.top,
            select_replicates=self.select_replicates,
            confirm_replicates=self.confirm_replicates,
        )

    @property
    def schedule_runs(self) -> int:
        """Runs that a schedule's search and confirmation take."""
        selecting = min(self.top, self.candidates) * self.select_replicates
        return self.candidates * self.screen_replicates + selecting + self.confirm_replicates

    @property
    def planned_runs(self) -> int:
        paths = len(self.optimizers) * len(self.batch_sizes) * 2 * self.replicates
        return paths + (len(self.searched) + 1) * self.schedule_runs + self.confirm_replicates
