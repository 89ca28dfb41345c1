"""What is put in Muon's place, and in which settings Muon is held against AdamW."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, NamedTuple

from experiments.ingredients.problems import (
    EXAMPLES,
    HEADS,
    IMAGES,
    OUTPUTS,
    Digits,
    Problem,
    Regression,
    Text,
)
from experiments.ingredients.variants import ADAMW, MUON, VARIANTS, Variant
from experiments.study.options.checks import (
    ASCENDING,
    EACH_ONCE,
    HIGHEST,
    Count,
    OneOf,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import Group, StudyConfig
from experiments.study.options.groups import Scheduled, Trained
from experiments.study.training.tuning import MoreRates, RateBudget

ALL = "all settings"
ON_TEXT = (  # the variants that a transformer is worth its time for
    *("exact", "inverted_root", "momentum_itself", "random_spectrum", "sign", "steps_1", "steps_2"),
    *("no_momentum", "less_momentum", "no_nesterov", "all_matrices"),
)
LEAST_SETTINGS = 3  # that a rank correlation tells anything of

Condition = Annotated[float, at_least(1), HIGHEST]
Rank = Annotated[int, at_least(1), at_most(OUTPUTS)]


class Contestant(NamedTuple):
    """A variant on a problem."""

    problem: Problem
    variant: str

    @property
    def name(self) -> str:
        return f"{self.problem.name}: {self.variant}"

    @property
    def rules(self) -> Variant:
        return VARIANTS[self.variant]

    @property
    def centre(self) -> float:
        """The middle of the learning rates tried."""
        return self.rules.centre * self.problem.unit

    @property
    def numbers(self) -> dict[str, float]:
        return {**self.rules.numbers, **self.problem.numbers}

    @property
    def program(self) -> tuple[str, str]:
        """What it shares with others that differ in numbers alone."""
        return self.problem.program, self.rules.form


@dataclass(frozen=True)
class Config(Scheduled, Trained, RateBudget, StudyConfig):
    """What is compared."""

    group: ClassVar[Group] = "what"
    batch_fields: ClassVar[tuple[str, ...]] = ("batch_size", "batch_sizes")

    variants: Annotated[tuple[str, ...], OneOf(VARIANTS), EACH_ONCE] = tuple(VARIANTS)
    """What to compare; muon and adamw are always added, to compare with."""
    problem: Literal["digits", "regression", "transformer"] = "digits"
    """What they are compared on: the digits, or the last of the regressions or transformers."""
    hidden: Annotated[tuple[Count, ...], entries(1)] = (32, 128, 32)
    """Widths of the hidden layers for the digits, unequal, or no scale would matter."""
    depths: Annotated[tuple[Count, ...], ASCENDING] = (1, 3)
    """Hidden layers in the settings of digits, ascending."""
    layers: Annotated[tuple[Count, ...], ASCENDING] = ()
    """Layers of the transformers in settings of text, ascending."""
    widths: Annotated[tuple[Count, ...], ASCENDING] = (32, 128)
    """Widths of both kinds of networks, ascending."""
    batch_sizes: Annotated[tuple[Count, ...], ASCENDING] = (16, 128)
    """Batch sizes there, ascending."""
    conditions: Annotated[tuple[Condition, ...], ASCENDING] = (1.0, 1000.0)
    """Condition numbers of the inputs' covariance in the settings of regression, ascending."""
    ranks: Annotated[tuple[Rank, ...], ASCENDING] = (2, 32)
    """Ranks of the regression's target, ascending."""
    measured_batches: Count = 8
    """First batches of a run that predict."""
    more_rates: MoreRates = 3
    confirm_replicates: Count = 24

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        kinds = "depths", "layers", "widths", "batch_sizes", "conditions", "ranks"
        if self.sound(*kinds) and len(self.settings) < LEAST_SETTINGS:
            yield (
                "conditions: with ranks, depths, layers, widths and batch_sizes must make at least"
                f" {LEAST_SETTINGS} settings, got {len(self.settings)}."
            )
        if self.sound("conditions", "ranks") and self.problem == "regression" and not self.regressions:
            yield "problem: regression needs conditions and ranks."
        if self.sound(*kinds) and self.problem == "transformer" and not self.transformers:
            yield "problem: transformer needs layers, widths and batch_sizes."
        if self.sound("widths", "layers") and self.layers and any(width % HEADS for width in self.widths):
            yield f"widths: must be multiples of a transformer's {HEADS} heads, got {self.widths}."
        if self.sound("measured_batches", "num_steps") and self.measured_batches > self.num_steps:
            yield (
                f"measured_batches: must be at most num_steps={self.num_steps}, got {self.measured_batches}."
            )
        if self.sound("batch_size") and self.batch_size > EXAMPLES:
            yield f"batch_size: must be at most a regression's {EXAMPLES} examples, got {self.batch_size}."
        if self.sound("batch_sizes") and max(self.batch_sizes, default=0) > IMAGES:
            yield f"batch_sizes: must be at most the {IMAGES} digits, got {self.batch_sizes}."

    @property
    def run_examples(self) -> int:
        return self.num_steps * max(self.batch_size, *self.batch_sizes)

    @property
    def compared(self) -> tuple[str, ...]:
        """The variants in the order of all, those to compare with included."""
        return tuple(name for name in VARIANTS if name in {MUON, ADAMW, *self.variants})

    @property
    def main_problem(self) -> Problem:
        """What the variants are compared on."""
        if self.problem == "digits":
            return Digits(self.hidden, self.batch_size)
        return {"regression": self.regressions, "transformer": self.transformers}[self.problem][-1]

    @property
    def networks(self) -> tuple[Digits, ...]:
        """The settings of digits."""
        sizes = itertools.product(self.depths, self.widths, self.batch_sizes)
        return tuple(Digits((width,) * depth, batch_size) for depth, width, batch_size in sizes)

    @property
    def regressions(self) -> tuple[Regression, ...]:
        """The settings of regression."""
        spectra = itertools.product(self.conditions, self.ranks)
        return tuple(Regression(condition, rank, self.batch_size) for condition, rank in spectra)

    @property
    def transformers(self) -> tuple[Text, ...]:
        """The settings of text."""
        sizes = itertools.product(self.layers, self.widths, self.batch_sizes)
        return tuple(Text(width, layers, batch_size) for layers, width, batch_size in sizes)

    @property
    def settings(self) -> tuple[Problem, ...]:
        """What Muon is held against AdamW in."""
        return *self.networks, *self.regressions, *self.transformers

    @property
    def families(self) -> dict[str, tuple[Problem, ...]]:
        """All settings; and of both kinds, where there are, those that are enough for a rank correlation."""
        kinds = {"digits": self.networks, "regressions": self.regressions, "text": self.transformers}
        enough = range(LEAST_SETTINGS, len(self.settings))
        return {ALL: self.settings} | {name: kind for name, kind in kinds.items() if len(kind) in enough}

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        """All that is tuned."""
        variants = (Contestant(self.main_problem, name) for name in self.compared)
        rivals = (Contestant(problem, name) for problem in self.settings for name in (MUON, ADAMW))
        return tuple(dict.fromkeys((*variants, *rivals)))

    @property
    def planned_runs(self) -> int:
        return len(self.contestants) * (self.tuning_runs + self.confirm_replicates)


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "transformer": Config(
            variants=ON_TEXT,
            problem="transformer",
            depths=(),
            layers=(1, 2),
            widths=(32,),
            batch_sizes=(4, 16),
            num_steps=200,
            more_rates=1,
            screen_replicates=2,
            confirm_replicates=16,
        ),
    }
)
