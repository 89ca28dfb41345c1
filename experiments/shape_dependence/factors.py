"""What may be varied: the settings that the values of an option stand for."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.optimizer_comparison.config import CENTRES, REFERENCE
from experiments.study.options.errors import choice_problem
from experiments.study.options.pairs import Value


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
