"""What the configs of studies that train a workload have in common, and what the workload asks of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import jax

import workloads
from experiments.study.options.config import StudyConfig
from experiments.study.options.errors import choice_problem
from experiments.study.options.metrics import best_metric
from experiments.study.options.pairs import WorkloadOptions
from workloads import Workload


@dataclass(frozen=True)
class WorkloadConfig(StudyConfig):
    """Base of a config of a study that trains a workload.

    Attributes:
      evaluations: how often a run is evaluated; the lowest of several evaluations, "best_…", is a metric too.
    """

    evaluations = 1  # unless it is an option: a ClassVar would take its place among the fields

    workload: str = "digits"
    """What to train: digits, cifar10, fashion_mnist, mnist, shakespeare, wikitext103, linear_regression or
    modular_addition."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    metric: str = "train_loss"
    """Metric at the end of training to minimise; all others are recorded beside it."""

    @property
    def run_examples(self) -> int:
        return self.batch_size * self.num_steps

    @property
    def workload_text(self) -> str:
        """The workload with its options, as in titles."""
        options = (f"{name}={value}" for name, value in self.workload_options.items())
        return " ".join([self.workload, *options])

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
