"""What is varied, and how every setting is searched."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from experiments.shape_dependence.factors import FACTORS, Factor, Setting
from experiments.shape_dependence.transfer import RATES
from experiments.shape_search.config import Config as ShapeSearch
from experiments.study.options.errors import StudyError
from experiments.study.options.pairs import Value, Values
from workloads import Workload


@dataclass(frozen=True)
class Config(ShapeSearch):
    """A shape search with one of its options varied. Its `select_replicates` also tune the learning rates of
    transferred shapes, its `confirm_replicates` also compare them."""

    vary: Literal[tuple(FACTORS)] = "weight_decay"
    """Search once per value of this option, then train every setting's best shape in every other."""
    values: Values = ()
    """Values of the option that is varied, its own when not given; a weight decay is tried in both modes."""

    def joint_problems(self) -> Iterator[str]:
        problems = [*super().joint_problems(), *self._value_problems()]
        yield from problems
        if not problems and self.sound(*(field.name for field in dataclasses.fields(self))):
            yield from self._setting_problems()

    def _value_problems(self) -> Iterator[str]:
        if self.sound("vary", "values"):
            yield from filter(None, map(self.factor.problem, self.values))

    def _setting_problems(self) -> Iterator[str]:
        names = [setting.name for setting in self._settings]
        if len(names) < 2 or len(set(names)) < len(names):
            told = ", ".join(names) or "none"
            yield f"values: must stand for at least two settings, each once, got {told}."
        for setting in self._settings:
            try:
                self._search(setting.changes)
            except StudyError as error:
                yield from (f"{setting.name}: {line}" for line in str(error).splitlines())

    def workload_problems(self, workload: Workload) -> Iterator[str]:
        yield from super().workload_problems(workload)
        for name, search in {} if self.problems() else self.settings.items():
            yield from (f"{name}: {problem}" for problem in search.workload_problems(workload))

    def unused(self) -> Iterator[tuple[str, str]]:
        """Learning rates of settings are made of those given."""
        varied = {name for changes in self.changes.values() for name in changes} - {"learning_rates"}
        yield from ((name, f"{self.vary} is varied") for name in sorted(varied))
        yield from ((name, reason) for name, reason in super().unused() if name not in varied)

    @property
    def factor(self) -> Factor:
        return FACTORS[self.vary]

    @property
    def tried(self) -> tuple[Value, ...]:
        """The values of the option, each of its kind."""
        return tuple(map(self.factor.kind, self.values or self.factor.values))

    @property
    def changes(self) -> dict[str, Mapping[str, Any]]:
        """By setting, the fields of the search that it changes."""
        return dict(self._settings)

    @property
    def settings(self) -> dict[str, ShapeSearch]:
        """Every setting's search."""
        return {name: self._search(changes) for name, changes in self.changes.items()}

    @property
    def reference(self) -> str:
        """The setting that the others are compared with."""
        value = self.factor.usual if self.factor.usual in self.tried else self.tried[0]
        return self.factor.settings((value,), self.learning_rates)[0].name

    @property
    def level(self) -> float:
        """Of each interval, so that those of one setting's shape, or in one setting, hold together with the
        confidence (Bonferroni)."""
        return 1 - (1 - self.confidence) / (len(self.changes) - 1)

    @property
    def planned_runs(self) -> int:
        """Runs that train every setting's shape in every setting; those of its search are planned there."""
        return len(self.changes) ** 2 * (RATES * self.select_replicates + self.confirm_replicates)

    @property
    def _settings(self) -> list[Setting]:
        return self.factor.settings(self.tried, self.learning_rates)

    def _search(self, changes: Mapping[str, Any]) -> ShapeSearch:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(ShapeSearch)}
        return ShapeSearch(**{**fields, **changes})


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(
            families=("two_point_spline_floor", "smooth_nonmonotonic"),
            optimizer="adamw",
            learning_rates=(0.001, 1.0),
            strategy="trust_region",
            candidates=128,
            rung_replicates=(5,),
            top=8,
            confirm_replicates=200,
            checked=0,
        )
    }
)
QUICK: Mapping[str, Any] = MappingProxyType(
    {"candidates": 24, "rung_replicates": (1,), "top": 2, "select_replicates": 10, "confirm_replicates": 40}
)
