"""What a shape search searches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from experiments.study.options.checks import (
    EACH_ONCE,
    MOST,
    Check,
    Count,
    CountOrNone,
    OneOf,
    RateRange,
    at_least,
    at_most,
)
from experiments.study.options.config import Group
from experiments.study.options.groups import Trained
from experiments.study.options.parameter_groups import ParameterGroups
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimized import Optimized
from experiments.study.training.optimizers import OPTIMIZERS, Optimizer
from schedules import FAMILIES, Family, Interval
from schedules.search import STRATEGIES, Budget, CheckBudget, CurveBudget, Race, Rung, SearchSpace
from schedules.search.joint import LEAST_RUNS
from schedules.shapes import DECAY_FORMS
from schedules.warmup import WARMUPS

BASELINES = ("cosine", "constant")  # searched in every study, as what the winner is compared with
CURVES = "curves"  # the strategy that searches all families at once
BY_FAMILY = (  # what all others spend
    *("candidates", "batch", "rung_replicates", "rung_horizons", "keep_fraction", "top"),
    *("select_replicates", "confirm_replicates", "checked", "local_replicates", "check_replicates"),
)

Fraction = Annotated[float, Check("in (0, 1]", lambda value: 0 < value <= 1)]
Horizons = Annotated[
    tuple[float, ...],
    Check(
        "in (0, 1], the last 1", lambda horizons: all(0 < h <= 1 for h in horizons) and horizons[-1:] == (1,)
    ),
]


@dataclass(frozen=True)
class Training(Trained, Optimized):
    """How every run is trained."""

    group: ClassVar[Group] = "training"

    batch_size: Count = 64
    """Examples in a step."""
    num_steps: Count = 100
    """The horizon: steps in a run."""
    vectorize: Count = 1
    """Runs a device computes side by side; it changes last bits, so it belongs to the study."""


@dataclass(frozen=True)
class Search:
    """How a family's shapes are searched."""

    group: ClassVar[Group] = "search"

    learning_rates: RateRange = (0.002, 0.5)
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    strategy: Literal[CURVES, *STRATEGIES] = CURVES
    """How candidates are found: curves searches all families at once, all others one by one."""
    runs: Annotated[int, at_least(LEAST_RUNS), at_most(MOST)] = 7_000
    """Runs of a search with curves in all, its verdict included."""
    candidates: Count = 64
    """Shapes with a learning rate that each family's search asks for."""
    batch: Count = 4
    """How many of them it asks for at a time."""
    rung_replicates: tuple[Count, ...] = (3,)
    """Seeds of a candidate on each rung of its race; the last rung is the full measurement."""
    rung_horizons: Horizons = (1.0,)
    """The length of the runs on each rung, as a fraction of the horizon; 1 on the last."""
    keep_fraction: Fraction = 0.5
    """The fraction of all candidates so far that goes on from a rung to the next."""
    top: Count = 5
    """Candidates per family that get fresh seeds after the screening."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if not self.sound("rung_replicates", "rung_horizons", "num_steps", "keep_fraction"):
            return
        if len(self.rung_horizons) != len(self.rung_replicates):
            yield (
                f"rung_horizons: must be one for each of the {len(self.rung_replicates)} rung_replicates, got"
                f" {self.rung_horizons}."
            )
            return
        try:
            _ = self.race
        except ValueError as error:
            yield f"rung_replicates, rung_horizons: {error}."

    def unused(self) -> Iterator[tuple[str, str]]:
        yield from super().unused()
        if self.strategy == CURVES:
            yield from ((name, "curves spends its runs as it sees fit") for name in BY_FAMILY)
            return
        yield "runs", f"{self.strategy} has a budget a family"
        if len(self.rung_replicates) == 1:
            yield "keep_fraction", "there is one rung, the last"

    @property
    def race(self) -> Race:
        """How a candidate is measured in the screening."""
        if self.strategy == CURVES:
            return Race((Rung(1, self.num_steps),))
        rungs = zip(self.rung_replicates, self.rung_horizons, strict=True)
        steps = [(replicates, max(1, round(fraction * self.num_steps))) for replicates, fraction in rungs]
        return Race(tuple(Rung(*rung) for rung in steps), self.keep_fraction)

    @property
    def learning_rate_range(self) -> Interval:
        return Interval(*self.learning_rates, log=True)


@dataclass(frozen=True)
class Replication:
    """How many seeds decide."""

    group: ClassVar[Group] = "sureness"

    select_replicates: Count = 25
    """Fresh seeds that choose a family's winner among its top candidates."""
    confirm_replicates: Count = 100
    """Fresh seeds that score each winner; only these scores are reported."""
    checked: CountOrNone = 3
    """How many of the best winners are checked for near-optimality: sweeps, local search, free from there."""
    local_replicates: Count = 10
    """Paired seeds of each point of a check's sweeps and local search."""
    check_replicates: Count = 60
    """Fresh seeds of each verdict."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("num_steps", "local_replicates", "check_replicates", "confidence"):
            try:
                _ = self.check_budget
            except ValueError as error:
                yield f"confidence: {self.confidence} is out of reach: {error}."

    def unused(self) -> Iterator[tuple[str, str]]:
        yield from super().unused()
        if not self.checked and self.strategy != CURVES:
            yield from ((name, "checked is 0") for name in ("local_replicates", "check_replicates"))

    @property
    def check_budget(self) -> CheckBudget:
        """What is spent on the verdict on a winner."""
        return CheckBudget(
            self.num_steps,
            replicates=self.local_replicates,
            check_replicates=self.check_replicates,
            confidence=self.confidence,
        )


@dataclass(frozen=True)
class Config(Training, Search, ParameterGroups, Replication, WorkloadConfig):
    """What is searched."""

    families: Annotated[tuple[str, ...], OneOf(FAMILIES), EACH_ONCE] = tuple(FAMILIES)
    """Families to search; cosine and constant are always added, to compare with."""
    warmup_form: Literal[tuple(WARMUPS)] = "linear"
    """How every family with a warm-up rises."""
    decay_form: Literal[tuple(DECAY_FORMS)] = "linear"
    """How wsd decays."""
    metric: str = "train_loss"
    """Metric to minimise: its final value, or with `best_` before its name the lowest of several evaluations;
    all others are recorded beside it."""
    evaluations: Count = 1
    """How often a run is evaluated, at equal distances and at its end."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.groups and self.sound("groups", "optimizer"):
            yield from self._group_problems(OPTIMIZERS[self.optimizer].groups)

    def _group_problems(self, known: tuple[str, ...]) -> Iterator[str]:
        if not known:
            grouped = ", ".join(name for name, optimizer in OPTIMIZERS.items() if optimizer.groups)
            yield f"groups: {self.optimizer} has one learning rate for all, only {grouped} have two."
        elif self.groups != known:
            yield f"groups: must be {' and '.join(known)} with {self.optimizer}, got {self.groups}."

    def unused(self) -> Iterator[tuple[str, str]]:
        yield from super().unused()
        for form in ("warmup_form", "decay_form"):
            if not any(form in family.options for family in self.searched):
                yield form, "no family that is searched has it"

    @property
    def budget(self) -> Budget:
        return Budget(
            candidates=self.candidates,
            batch=self.batch,
            race=self.race,
            top=self.top,
            select_replicates=self.select_replicates,
            confirm_replicates=self.confirm_replicates,
        )

    @property
    def curve_budget(self) -> CurveBudget:
        """What curves spends its runs on."""
        return CurveBudget(self.runs, len(self.searched), self.num_steps, confidence=self.confidence)

    @property
    def spaces(self) -> tuple[SearchSpace, ...]:
        """What is searched, a space a family."""
        return tuple(SearchSpace(family, self.learning_rate_range) for family in self.searched)

    @property
    def searched(self) -> tuple[Family, ...]:
        """The families with their options set, baselines included."""
        return tuple(map(self.family, dict.fromkeys((*self.families, *BASELINES))))

    def family(self, name: str) -> Family:
        """A family with its options set, with a curve for each group of parameters."""
        chosen = {"warmup_form": self.warmup_form, "decay_form": self.decay_form}
        family = FAMILIES[name]
        return self.grouped(family.with_options(**{o: v for o, v in chosen.items() if o in family.options}))

    @property
    def driven(self) -> Optimizer:
        """With a schedule for each group, where there are groups."""
        return super().driven.grouped if self.groups else super().driven

    @property
    def rates_shape(self) -> tuple[int, ...]:
        """Of the learning rates of a run."""
        return (len(self.groups), self.num_steps) if self.groups else (self.num_steps,)

    @property
    def planned_runs(self) -> int:
        """Runs of the search where every candidate reaches the last rung; those of the checks come on top,
        but with curves, which has them among its own."""
        if self.strategy == CURVES:
            return self.runs
        screening = {rung.num_steps: rung.replicates for rung in self.race.rungs}  # of a horizon, the last
        fresh = min(self.top, self.candidates) * self.select_replicates + self.confirm_replicates
        return len(self.searched) * (self.candidates * sum(screening.values()) + fresh)
