"""What the configs of all studies have in common: sizes within reason. Imports no JAX."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from experiments.study.options.checks import Checked, Confidence, Seed

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
      group: of the options that a class adds: what is studied, where it names none.
      planned_runs: how many runs are expected.
      most_runs: how many there may be: their trials have room in memory.
      run_examples: how many a run sees, at most.
      batch_fields: those that hold batch sizes, where there are any.
    """

    group: ClassVar[Group] = "sureness"
    planned_runs: ClassVar[int]
    most_runs: ClassVar[int] = 10_000_000
    run_examples: ClassVar[int] = 0
    batch_fields: ClassVar[tuple[str, ...]] = ("batch_size",)
    data_parallel = 1  # unless it is an option: a ClassVar would take its place among the fields

    confidence: Confidence = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: Seed = 0
    """Root of everything random."""

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
