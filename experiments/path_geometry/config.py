"""What a study of path geometry measures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from jaxtyping import Array, Float

from experiments.study.options.checks import (
    ASCENDING,
    EACH_ONCE,
    Check,
    Count,
    OneOf,
    Positive,
    RateRange,
    Several,
    entries,
)
from experiments.study.options.config import Group
from experiments.study.options.groups import Probed, Trained
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimizers import OPTIMIZERS
from schedules import FAMILIES, Family, Interval
from schedules.search import Budget, Race, Rung
from workloads import Workload

PRESCRIBED, UNTUNED = "prescribed", "prescribed, untuned"
BASELINE = "cosine"  # searched in every study, as what the prescribed schedule is compared with
MEASURED = [name for name, optimizer in OPTIMIZERS.items() if not optimizer.asks]  # steps of a gradient alone
SGD_AMONG_THEM = Check("names with sgd among them", lambda names: "sgd" in names)


@dataclass(frozen=True)
class Searched:
    """Schedules that are searched, each with as many runs as the prescribed one."""

    group: ClassVar[Group] = "search"

    families: Annotated[tuple[str, ...], OneOf(FAMILIES), EACH_ONCE] = (
        "cosine",
        "constant",
        "wsd",
        "two_point_linear",
    )
    """Families of schedules that are searched beside the prescribed one; cosine is always added."""
    base_learning_rates: RateRange = (0.03, 8.0)
    """Lowest and highest base learning rate of sgd that every schedule is searched with."""
    candidates: Count = 48
    """Shapes with a learning rate that each search asks for; the prescribed one has a single shape."""
    screen_replicates: Count = 2
    """Seeds for each candidate in the screening."""
    top: Count = 3
    """Candidates per family that get fresh seeds after the screening."""
    select_replicates: Count = 8
    """Fresh seeds that choose a family's winner among its top candidates."""
    confirm_replicates: Count = 40
    """Fresh seeds that score each schedule; only these scores are reported."""

    @property
    def searched(self) -> tuple[Family, ...]:
        return tuple(FAMILIES[name] for name in dict.fromkeys((*self.families, BASELINE)))

    @property
    def learning_rate_range(self) -> Interval:
        return Interval(*self.base_learning_rates, log=True)

    @property
    def tuning_runs(self) -> int:
        """Runs that choose a schedule; those that confirm it come on top."""
        selecting = min(self.top, self.candidates) * self.select_replicates
        return self.candidates * self.screen_replicates + selecting


@dataclass(frozen=True)
class Config(Trained, Probed, Searched, WorkloadConfig):
    """What is measured."""

    optimizers: Annotated[tuple[str, ...], OneOf(MEASURED), EACH_ONCE, SGD_AMONG_THEM] = (
        "sgd",
        "momentum",
        "adam",
        "muon",
    )
    """Whose paths are measured; sgd, whose step is prescribed, must be among them."""
    learning_rates: tuple[Positive, ...] = (1.0, 0.2, 0.01, 0.02)
    """Peak learning rate of each optimizer at all batch sizes; by default near the best at the middle one."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Shape of the measured runs' learning rate, without warm-up."""
    batch_sizes: Annotated[tuple[Count, ...], entries(2), ASCENDING] = (16, 64, 256)
    """Batch sizes whose paths are measured, ascending; the middle one is used for everything else."""
    num_steps: Count = 200
    """Steps in a run."""
    probe_every: Count = 5
    """Steps from one measurement to the next."""
    replicates: Several = 12
    """Seeds of each measured path, with true labels and with random ones."""

    batch_fields = ("batch_sizes",)
    least_probes = 6  # thirds of a run are compared

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if len(self.learning_rates) != len(self.optimizers):
            yield (
                f"learning_rates: there must be one for each of the {len(self.optimizers)} optimizers,"
                f" got {self.learning_rates}."
            )

    def workload_problems(self, workload: Workload) -> Iterator[str]:
        if not hasattr(workload.data, "train_labels"):
            yield f"workload: its data must have train_labels to shuffle, {self.workload} has none."
        yield from super().workload_problems(workload)

    @property
    def peaks(self) -> dict[str, float]:
        """The learning rate of each optimizer."""
        return dict(zip(self.optimizers, self.learning_rates, strict=True))

    @property
    def multipliers(self) -> Float[Array, "steps"]:
        """The measured runs' learning rate at every step, as a fraction of the peak."""
        return FAMILIES[self.schedule].multipliers({"warmup": 0.0}, self.num_steps)

    @property
    def middle_batch(self) -> int:
        """The batch size of single comparisons and of all schedules."""
        return self.batch_sizes[len(self.batch_sizes) // 2]

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
    def run_examples(self) -> int:
        return self.batch_sizes[-1] * self.num_steps

    @property
    def planned_runs(self) -> int:
        paths = len(self.optimizers) * len(self.batch_sizes) * 2 * self.replicates
        tuned = (len(self.searched) + 1) * (self.tuning_runs + self.confirm_replicates)
        return paths + tuned + self.confirm_replicates
