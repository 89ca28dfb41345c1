"""What a dependence study varies and how it searches every setting."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.shape_search.config import Config
from experiments.shape_search.dependence.factors import FACTORS, Factor, Value
from experiments.shape_search.dependence.transfer import RATES
from experiments.study.options.errors import StudyError, choice_problem, raise_problems


@dataclass(frozen=True)
class Dependence:
    """A shape search with one of its options varied; it alone decides the results as `Config` does.

    Attributes:
      search: how every setting is searched, but for what is varied. Its `select_replicates` also tune the
        learning rates of transferred shapes, its `confirm_replicates` also compare them.
      vary: the option.
      values: of that option; the factor's own when empty.

    Raises StudyError, with all that is wrong at once.
    """

    search: Config
    vary: str
    values: tuple[Value, ...] = ()

    def __post_init__(self):
        raise_problems(dependence_problems(self.search, self.vary, self.values))
        words = self.values or self.factor.values
        object.__setattr__(self, "values", tuple(map(self.factor.parsed, words)))

    @property
    def factor(self) -> Factor:
        return FACTORS[self.vary]

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """By setting, the fields of the search that it changes."""
        return {name: dict(of) for name, of in self.factor.settings(self.values, self.search)}

    @property
    def settings(self) -> dict[str, Config]:
        """Every setting's search."""
        return {name: dataclasses.replace(self.search, **of) for name, of in self.changes.items()}

    @property
    def reference(self) -> str:
        """The setting that the others are compared with."""
        value = self.factor.usual if self.factor.usual in self.values else self.values[0]
        return self.factor.settings((value,), self.search)[0].name

    @property
    def level(self) -> float:
        """Of each interval, so that those of one setting's shape, or in one setting, hold together with the
        search's confidence (Bonferroni)."""
        return 1 - (1 - self.search.confidence) / (len(self.changes) - 1)

    @property
    def planned_runs(self) -> int:
        """Runs that train every setting's shape in every setting; those of its search are planned there."""
        tuning = RATES * self.search.select_replicates
        return len(self.changes) ** 2 * (tuning + self.search.confirm_replicates)

    def unused(self) -> Iterator[tuple[str, str]]:
        """See `StudyConfig`; learning rates of settings are made of the search's own."""
        varied = {name for of in self.changes.values() for name in of} - {"learning_rates"}
        yield from ((name, f"{self.vary} is varied") for name in sorted(varied))
        yield from ((name, reason) for name, reason in self.search.unused() if name not in varied)

    @property
    def data_parallel(self) -> int:
        return self.search.data_parallel

    @property
    def fields(self) -> dict[str, Any]:
        """The content of config.json."""
        return {"vary": self.vary, "values": self.values, **dataclasses.asdict(self.search)}


def from_fields(vary: str, values: tuple[Value, ...], **search: Any) -> Dependence:
    """The study whose `fields` these are."""
    return Dependence(Config(**search), vary, values)


def dependence_problems(search: Config, vary: str, words: Sequence[Value]) -> list[str]:
    """What is wrong with the search and the values by themselves; where nothing is, with the settings."""
    unknown = choice_problem("vary", vary, FACTORS)
    if unknown:
        return [*search.problems(), unknown]
    factor = FACTORS[vary]
    values, problems = _parsed(factor, words or factor.values)
    return [*search.problems(), *problems] or _setting_problems(factor, values, search)


def _parsed(factor: Factor, words: Sequence[Value]) -> tuple[list[Value], list[str]]:
    values, problems = [], []
    for word in words:
        try:
            values.append(factor.parsed(word))
        except ValueError as error:
            problems.append(str(error))
    return values, problems


def _setting_problems(factor: Factor, values: Sequence[Value], search: Config) -> list[str]:
    settings = factor.settings(values, search)
    problems = []
    if len(settings) < 2 or len({name for name, _ in settings}) < len(settings):
        names = ", ".join(name for name, _ in settings) or "none"
        problems.append(f"values: must stand for at least two settings, each once, got {names}.")
    for name, changes in settings:
        try:
            dataclasses.replace(search, **changes)
        except StudyError as error:
            problems += [f"{name}: {line}" for line in str(error).splitlines()]
    return problems


DEFAULTS = Config(
    families=("two_point_spline_floor", "smooth_nonmonotonic"),
    optimizer="adamw",
    learning_rates=(0.001, 1.0),
    candidates=128,
    rung_replicates=(5,),
    top=8,
    confirm_replicates=200,
    checked=0,
)
QUICK = dataclasses.replace(
    DEFAULTS, candidates=24, rung_replicates=(1,), top=2, select_replicates=10, confirm_replicates=40
)
