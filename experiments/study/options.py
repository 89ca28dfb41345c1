"""Options that are NAME VALUE pairs on the command line, whatever the default holds."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import tyro

Value = int | float | str


def _parsed(words: Sequence[str]) -> dict[str, Value]:
    if len(words) % 2:
        raise ValueError("the option takes pairs of NAME VALUE")
    return {name: _value(text) for name, text in zip(words[::2], words[1::2], strict=True)}


def _value(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


PAIRS = tyro.constructors.PrimitiveConstructorSpec(
    # tyro would make the keys of a default that is not empty options of their own
    nargs="*",
    metavar="[NAME VALUE ...]",
    instance_from_str=_parsed,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda options: [str(word) for pair in options.items() for word in pair],
)
WorkloadOptions = Annotated[dict[str, Value], PAIRS]
Budgets = Annotated[dict[str, int], PAIRS]


def workload_text(name: str, options: Mapping[str, Value]) -> str:
    """A workload with its options, as in titles."""
    return " ".join([name, *(f"{option}={value}" for option, value in options.items())])
