"""What may be varied: the settings that the values of an option stand for."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.optimizer_comparison.config import CONTENDERS, REFERENCE_OPTIMIZER
from experiments.shape_search.config import Config
from experiments.study.options.errors import choice_problem

Value = float | int | str


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
      settings: (values, search) → the settings they stand for.
    """

    kind: type[float] | type[int] | type[str]
    values: tuple[Value, ...]
    usual: Value
    settings: Callable[[Sequence[Value], Config], list[Setting]]

    def parsed(self, word: Value) -> Value:
        """A value from what was typed. Raises ValueError with what is wrong with it."""
        if self.kind is str:
            problem = choice_problem("values", str(word), CONTENDERS)
            if problem:
                raise ValueError(problem)
            return str(word)
        kind = "whole numbers" if self.kind is int else "numbers"
        try:
            number = float(word)
        except ValueError:
            raise ValueError(f"values: must be {kind}, got {word!r}.") from None
        if self.kind is int and not number.is_integer():
            raise ValueError(f"values: must be {kind}, got {word}.")
        return self.kind(number)


def _decays(values: Sequence[float], search: Config) -> list[Setting]:
    """Every decay in both modes; the independent one is as strong as the scaled one at the middle of the
    learning rates, so that both remove about as much."""
    middle = math.sqrt(math.prod(search.learning_rates))
    none = [Setting("no_decay", {"weight_decay": 0.0}) for value in values if value == 0]
    scaled = [_decay("scaled", value) for value in values if value]
    independent = [_decay("independent", float(f"{value * middle:.2g}")) for value in values if value]
    return none + scaled + independent


def _decay(mode: str, strength: float) -> Setting:
    return Setting(f"{mode}_{strength:g}", {"weight_decay": strength, "decay_mode": mode})


def _optimizers(values: Sequence[str], search: Config) -> list[Setting]:
    """The learning rates given are AdamW's; every other optimizer has them moved to its own middle."""

    def rates(name: str) -> tuple[float, ...]:
        return tuple(
            rate * CONTENDERS[name] / CONTENDERS[REFERENCE_OPTIMIZER] for rate in search.learning_rates
        )

    return [Setting(name, {"optimizer": name, "learning_rates": rates(name)}) for name in values]


def _plain(field: str) -> Callable[[Sequence[Value], Config], list[Setting]]:
    def settings(values: Sequence[Value], search: Config) -> list[Setting]:
        return [Setting(f"{field}_{value:g}", {field: value}) for value in values]

    return settings


FACTORS: Mapping[str, Factor] = MappingProxyType(
    {
        "weight_decay": Factor(float, (0.0, 0.03, 0.1, 0.3, 1.0), 0.0, _decays),
        "b1": Factor(float, (0.0, 0.5, 0.8, 0.9, 0.95), 0.9, _plain("b1")),
        "b2": Factor(float, (0.9, 0.95, 0.99, 0.999), 0.999, _plain("b2")),
        "batch_size": Factor(int, (16, 32, 64, 128, 256), 64, _plain("batch_size")),
        "num_steps": Factor(int, (50, 100, 200, 400), 100, _plain("num_steps")),
        "optimizer": Factor(str, ("adamw", "signum", "muon"), REFERENCE_OPTIMIZER, _optimizers),
    }
)
