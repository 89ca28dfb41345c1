"""What a study of cooldowns tries."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from experiments.study.options.checks import (
    ASCENDING,
    EACH_ONCE,
    BelowOne,
    Between,
    Check,
    Count,
    CountOrNone,
    OneOf,
    Positive,
    entries,
)
from experiments.study.options.groups import Trained
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimized import Optimized
from schedules import Cooldown, Trunk
from schedules.shapes import DECAY_FORMS

FORM, LENGTH = "1-sqrt", 0.2  # what Hägele et al. (2024) find best, and enough

LEAST_HORIZONS = 3  # loss against horizon is a line
LEAST_RATES = 3  # a best rate needs one on either side

Horizons = Annotated[tuple[Count, ...], entries(LEAST_HORIZONS), ASCENDING]
Rates = Annotated[tuple[Positive, ...], entries(LEAST_RATES), ASCENDING]


@dataclass(frozen=True)
class Config(Trained, Optimized, WorkloadConfig):
    """What is tried."""

    batch_size: Count = 16
    """Examples in a step."""
    horizons: Horizons = (50, 100, 200, 400, 800)
    """Steps of the runs, ascending."""
    warmup: CountOrNone = 10
    """Steps in which the learning rate rises; a trunk's are the same for all horizons."""
    forms: Annotated[tuple[str, ...], OneOf(DECAY_FORMS), entries(1), EACH_ONCE] = tuple(DECAY_FORMS)
    """Forms of the cooldown; 1-sqrt is always added, since it is claimed to be the best."""
    lengths: Annotated[tuple[Between, ...], entries(1), EACH_ONCE] = (0.05, 0.1, 0.2, 0.4)
    """Lengths of the cooldown, as fractions of the horizon; 0.2 is always added, claimed to be enough."""
    searched: Annotated[tuple[Count, ...], EACH_ONCE] = (200,)
    """Horizons at which form and length are searched through whole runs too, with seeds of their own."""
    learning_rates: Rates = (0.005, 0.01, 0.02, 0.04, 0.08)
    """Peak learning rates, ascending; everything is tuned over all of them."""
    average_decays: Annotated[tuple[BelowOne, ...], entries(1), EACH_ONCE] = (0.9, 0.97, 0.99)
    """Decays of the trunk's average that is evaluated in place of a cooldown."""
    schedule_free_betas: Annotated[tuple[BelowOne, ...], entries(1), EACH_ONCE] = (0.9, 0.95, 0.98)
    """β of schedule-free steps, whose average is evaluated in place of a cooldown; it is their momentum."""
    screen_replicates: Count = 3
    """Seeds for everything that is tried."""
    confirm_replicates: Count = 16
    """Fresh seeds that score what was chosen; only these scores are reported."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("horizons", "searched"):
            known = Check(f"among horizons={self.horizons}", lambda chosen: {*chosen} <= {*self.horizons})
            yield from known.problems("searched", self.searched)
        if self.sound("horizons", "lengths", "warmup"):
            yield from self._horizon_problems()

    def _horizon_problems(self) -> Iterator[str]:
        """What is wrong unless the trunk has room for its warm-up and for one cooldown after the other."""
        shortest = self.horizons[0]
        steps = [Cooldown(length).steps(shortest) for length in self.all_lengths]
        if steps[0] < 1 or self.warmup + steps[-1] > shortest:
            yield (
                f"horizons: must hold a warm-up of {self.warmup} steps and cooldowns of at least one, got"
                f" {shortest} with cooldowns of {steps[0]} to {steps[-1]}."
            )
        for earlier, later in itertools.pairwise(self.horizons):
            if later - Cooldown(LENGTH).steps(later) < earlier:
                yield f"horizons: must leave room for a fifth between two, got {earlier} and {later}."

    @property
    def run_examples(self) -> int:
        return self.batch_size * self.longest

    @property
    def longest(self) -> int:
        """The last horizon."""
        return self.horizons[-1]

    @property
    def all_forms(self) -> tuple[str, ...]:
        """The forms, the claimed one included."""
        return tuple(dict.fromkeys((*self.forms, FORM)))

    @property
    def all_lengths(self) -> tuple[float, ...]:
        """The lengths, ascending, the claimed one included."""
        return tuple(sorted({*self.lengths, LENGTH}))

    @property
    def trunk(self) -> Trunk:
        return Trunk(self.warmup)

    @property
    def trunk_runs(self) -> int:
        """Runs of one learning rate that share a program, trained and recorded together."""
        cooldowns = len(self.all_forms) * len(self.all_lengths)
        tuned = len(self.horizons) * (cooldowns + 2) + 1 + len(self.average_decays)
        return self.screen_replicates * tuned

    @property
    def planned_runs(self) -> int:
        forms, lengths, horizons = len(self.all_forms), len(self.all_lengths), len(self.horizons)
        searched = self.screen_replicates * len(self.searched) * forms * lengths
        free = self.screen_replicates * len(self.schedule_free_betas)
        chosen = self.confirm_replicates * horizons * (forms + lengths + 7)
        return len(self.learning_rates) * (self.trunk_runs + searched + free) + chosen
