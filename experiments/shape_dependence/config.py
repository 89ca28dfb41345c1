"""What may be varied: the settings that the values of an option stand for, and how each is searched."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from experiments.optimizer_comparison.claims import REFERENCE
from experiments.optimizer_comparison.config import CENTRES
from experiments.shape_dependence.transfer import RATES
from experiments.shape_search.config import Config as ShapeSearch
from experiments.study.options.errors import StudyError, choice_problem
from experiments.study.options.pairs import Value, Values
from workloads import Workload


class Setting(NamedTuple):
    """A setting's name, which its folder has too, and the fields of the search that it changes."""

    name: str
    changes: Mapping[str, Any]


class Factor(NamedTuple):
    """An option of the shape search that can be varied.

    Attributes:
      kind: what a value is.
      values: those tried when none are given.
      usual: the value whose setting the others are compared with; the first one where it is not tried.
      settings: (values, learning rates of the search) → the settings they stand for.
    """

    kind: type[float] | type[int] | type[str]
    values: tuple[Value, ...]
    usual: Value
    settings: Callable[[Sequence[Value], Sequence[float]], list[Setting]]

    def problem(self, value: Value) -> str | None:
        """What is wrong with a value that was typed, if anything is."""
        if self.kind is str:
            return choice_problem("values", str(value), CENTRES)
        whole = self.kind is int
        if isinstance(value, str) or (whole and not float(value).is_integer()):
            return f"values: must be {'whole numbers' if whole else 'numbers'}, got {value!r}."
        return None


def _decays(values: Sequence[float], learning_rates: Sequence[float]) -> list[Setting]:
    """Every decay in both modes; the independent one is as strong as the scaled one at the middle of the
    learning rates, so that both remove about as much."""
    centre = math.sqrt(math.prod(learning_rates))
    undecayed = [Setting("no_decay", {"weight_decay": 0.0}) for value in values if value == 0]
    scaled = [_decay("scaled", value) for value in values if value]
    independent = [_decay("independent", float(f"{value * centre:.2g}")) for value in values if value]
    return undecayed + scaled + independent


def _decay(mode: str, strength: float) -> Setting:
    return Setting(f"{mode}_{strength:g}", {"weight_decay": strength, "decay_mode": mode})


def _optimizers(values: Sequence[str], learning_rates: Sequence[float]) -> list[Setting]:
    """The learning rates given are AdamW's; every other optimizer has them moved to its own middle."""

    def rates(name: str) -> tuple[float, ...]:
        return tuple(rate * CENTRES[name] / CENTRES[REFERENCE] for rate in learning_rates)

    return [Setting(name, {"optimizer": name, "learning_rates": rates(name)}) for name in values]


def _plain(field: str) -> Callable[[Sequence[Value], Sequence[float]], list[Setting]]:
    return lambda values, learning_rates: [Setting(f"{field}_{value:g}", {field: value}) for value in values]


FACTORS: Mapping[str, Factor] = MappingProxyType(
    {
        "weight_decay": Factor(float, (0.0, 0.03, 0.1, 0.3, 1.0), 0.0, _decays),
        "b1": Factor(float, (0.0, 0.5, 0.8, 0.9, 0.95), 0.9, _plain("b1")),
        "b2": Factor(float, (0.9, 0.95, 0.99, 0.999), 0.999, _plain("b2")),
        "batch_size": Factor(int, (16, 32, 64, 128, 256), 64, _plain("batch_size")),
        "num_steps": Factor(int, (50, 100, 200, 400), 100, _plain("num_steps")),
        "optimizer": Factor(str, ("adamw", "signum", "muon"), REFERENCE, _optimizers),
    }
)


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
