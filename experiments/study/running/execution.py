"""How a study is made, without effect on its results."""

from dataclasses import dataclass
from typing import ClassVar

from experiments.study.options.checks import Count, CountOrNone, NotNegative, value_problems

SAVE_EVERY_SECONDS = 60


@dataclass(frozen=True)
class Execution:
    """Without effect on the results."""

    checkpoint_steps: ClassVar[int] = 0  # unless they are options
    checkpoint_seconds: ClassVar[float] = SAVE_EVERY_SECONDS

    devices: int | None = None
    """How many devices to use, all when not given; a study keeps to one, or to several of any number."""
    chunk_runs: Count | None = None
    """Runs computed and recorded together at most; the study's own choice when not given."""

    def problems(self) -> list[str]:
        """What is wrong with the options, but for the devices, which not all processes know yet."""
        return [
            *value_problems("chunk_runs", self.chunk_runs, Count | None),
            *value_problems("checkpoint_steps", self.checkpoint_steps, CountOrNone),
            *value_problems("checkpoint_seconds", self.checkpoint_seconds, NotNegative),
        ]


@dataclass(frozen=True)
class SavedExecution(Execution):
    """Without effect on the results. Whether runs are saved may change when a study is resumed."""

    checkpoint_steps: int = 0
    """Runs of more steps (micro-batches where the batch grows) may be saved at multiples of these, and when
    SIGTERM comes; none when 0."""
    checkpoint_seconds: float = SAVE_EVERY_SECONDS
    """The least time from one checkpoint to the next."""
