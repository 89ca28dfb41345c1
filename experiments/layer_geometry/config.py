"""What a study of layer geometry measures and compares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from experiments.study.options.checks import BelowOne, Count, NotNegative, Positive, Several
from experiments.study.options.groups import Probed, Scheduled, Trained
from experiments.study.options.pairs import WorkloadOptions
from experiments.study.options.workload_config import WorkloadConfig, batch_problems
from experiments.study.training.tuning import Budget, Decays
from workloads import Workload

BY_INDEX, SPECTRAL_ONLY, SIGN_ONLY = "by the index", "spectral only", "sign only"
CONTESTANTS = (BY_INDEX, SPECTRAL_ONLY, SIGN_ONLY)  # ways to choose each layer's geometry


@dataclass(frozen=True)
class Config(Scheduled, Trained, Probed, Budget, WorkloadConfig):
    """What is measured."""

    workload_options: WorkloadOptions = field(default_factory=lambda: {"model": "cnn"})
    parts: Several = 8
    """Equal parts of each batch, whose gradients tell the noise."""
    learning_rate: Positive = 0.04
    """Peak learning rate of muon in the measured runs."""
    decay: BelowOne = 1e-3
    """Fraction of a weight that a step of theirs at the peak rate removes."""
    probe_every: Count = 10
    """Steps from one measurement to the next."""
    curvature_batches: Count = 12
    """Batches whose mean gradient and Hessian the curvature is measured with."""
    replicates: Several = 8
    """Seeds of the measured runs."""
    tau: NotNegative = 1.0
    """How many deviations of the noise the index takes off the signal: 1 in expectation, 2 for certain."""
    index_every: Count = 10
    """Steps from one look at the index to the next, where it chooses the geometry."""
    central_rate: Positive = 0.04
    """The middle of the learning rates first tried with each way to choose."""
    decays: Decays = (0.0, 1e-3)

    least_probes = 4  # the halves of a run are compared

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("batch_size", "parts", "microbatches", "data_parallel"):
            pieces = self.microbatches * self.data_parallel
            if self.batch_size % (self.parts * pieces):
                yield (
                    f"parts: times microbatches × data_parallel = {pieces} must divide"
                    f" batch_size={self.batch_size}, got {self.parts}."
                )

    def workload_problems(self, workload: Workload) -> Iterator[str]:
        yield from super().workload_problems(workload)
        if self.sound("batch_size", "curvature_batches"):
            examples = self.batch_size * self.curvature_batches
            yield from batch_problems("batch_size × curvature_batches", examples, workload)

    @property
    def planned_runs(self) -> int:
        return self.replicates + len(CONTESTANTS) * (self.tuning_runs + self.confirm_replicates)

    @property
    def recorded_steps(self) -> range:
        """Where the geometry in use is recorded, after the index may have changed it."""
        return range(0, self.num_steps, self.index_every)


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "transformer": Config(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 2, "heads": 2, "context": 32},
            metric="test_loss",
            batch_size=16,
            num_steps=300,
            probe_every=30,
            replicates=4,
            index_every=20,
            more_rates=3,
            decays=(0.0,),
            screen_replicates=2,
            confirm_replicates=16,
        ),
    }
)
