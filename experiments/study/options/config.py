"""What the configs of all studies have in common: sizes within reason, and what a workload asks of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal

import jax

import workloads
from experiments.study.options.checks import Checked, Confidence, Seed
from experiments.study.options.errors import choice_problem
from experiments.study.options.metrics import best_metric
from experiments.study.options.pairs import WorkloadOptions, workload_text
from workloads import Workload

MOST_EXAMPLES = 2**31 - 1  # that a run sees: their places are numbered in 32 bits


Group = Literal["what", "training", "search", "sureness"]
GROUPS: Mapping[Group, str] = MappingProxyType(  # of options, in the order of the help
    {
        "what": "What is studied.",
        "training": "How every run is trained.",
        "search": "How much is tried.",
        "sureness": "How sure the answer is.",
    }
)


@dataclass(frozen=True)
class StudyConfig(Checked):
    """Base of a config; on one device or on several, it alone decides the results, bit for bit.

    Attributes:
      group: of the options that a class adds.
      planned_runs: how many runs are expected.
      most_runs: how many there may be: their trials have room in memory.
    """

    group: ClassVar[Group] = "sureness"
    planned_runs: ClassVar[int]
    most_runs: ClassVar[int] = 10_000_000
    data_parallel = 1  # unless it is an option: a ClassVar would take its place among the fields

    confidence: Confidence = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: Seed = 0
    """Root of everything random."""

    @property
    def run_examples(self) -> int:
        """How many examples a run sees, at most."""
        return self.batch_size * self.num_steps

    def unused(self) -> Iterator[tuple[str, str]]:
        """Fields that have no effect beside the others, each with what makes it so."""
        yield from ()

    def problems(self) -> list[str]:
        return super().problems() or list(self._size_problems())

    def _size_problems(self) -> Iterator[str]:
        """What is wrong where every count is sound and their product is not."""
        if self.planned_runs > self.most_runs:
            yield f"These counts make {self.planned_runs:,} runs, more than a study's {self.most_runs:,}."
        if self.run_examples > MOST_EXAMPLES:
            yield f"A run would see {self.run_examples:,} examples, more than a run's {MOST_EXAMPLES:,}."


@dataclass(frozen=True)
class WorkloadConfig(StudyConfig):
    """Base of a config of a study that trains a workload.

    Attributes:
      batch_fields: those that hold batch sizes.
      evaluations: how often a run is evaluated; the lowest of several evaluations, "best_…", is a metric too.
    """

    group: ClassVar[Group] = "what"
    batch_fields: ClassVar[tuple[str, ...]] = ("batch_size",)
    evaluations = 1  # unless it is an option: a ClassVar would take its place among the fields

    workload: str = "digits"
    """What to train: digits, cifar10, fashion_mnist, mnist, shakespeare, wikitext103 or linear_regression."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    metric: str = "train_loss"
    """Metric at the end of training to minimise; all others are recorded beside it."""

    @property
    def workload_text(self) -> str:
        """The workload with its options, as in titles."""
        return workload_text(self.workload, self.workload_options)

    def loaded_problems(self) -> Iterator[str]:
        """What is wrong with the fields where the workload is one of this project's, not the caller's own."""
        yield from ()

    def workload_problems(self, workload: Workload) -> Iterator[str]:
        """What is wrong with the fields that are sound by themselves, but not with the workload."""
        fields = list(filter(self.sound, self.batch_fields))
        sizes = [(field, size) for field in fields for size in self._sizes(field)]
        wrong_sizes = [text for field, size in sizes for text in batch_problems(field, size, workload)]
        if sizes and not wrong_sizes:
            broken = workloads.contract_problems(workload, sizes[0][1])
            if broken:
                yield from (f"workload: {text}" for text in broken)
                return
        names = workloads.metric_names(workload)
        best = [best_metric(name) for name in names] if self.evaluations > 1 else []
        problem = choice_problem("metric", self.metric, (*names, *best))
        if problem:
            yield problem
        yield from wrong_sizes

    def _sizes(self, field: str) -> tuple[int, ...]:
        sizes = getattr(self, field)
        return sizes if isinstance(sizes, tuple) else (sizes,)


def batch_problems(field: str, batch_size: int, workload: Workload) -> list[str]:
    """What is wrong unless the workload has batches of that size, in the name of the field."""
    try:
        jax.eval_shape(lambda: workload.indices(jax.random.key(0), batch_size, 1))
    except ValueError as error:
        return [f"{field}: {str(error).removeprefix('batch_size ')}."]
    return []
