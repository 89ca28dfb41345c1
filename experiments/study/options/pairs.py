"""How options are typed: each once, pairs of name and value whatever the default holds, folders by a name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.study.options.errors import raise_problems, repetition_problems

Value = int | float | str


def _parsed(words: Sequence[str]) -> dict[str, Value]:
    if len(words) % 2:
        raise ValueError("the option takes pairs of NAME VALUE")
    names = words[::2]
    if len(set(names)) < len(names):
        raise ValueError("each NAME is given once")
    return {name: _value(text) for name, text in zip(names, words[1::2], strict=True)}


def _assigned(words: Sequence[str]) -> dict[str, Value]:
    pairs = [word.partition("=") for word in words]
    if not all(name and sign for name, sign, _ in pairs):
        raise ValueError("the option takes NAME=VALUE, as tables show it")
    return _parsed([part for name, _, value in pairs for part in (name, value)])


def _value(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _folder(words: Sequence[str]) -> Path:
    (text,) = words
    if not text:
        raise ValueError("a folder has a name")
    return Path(text)


PAIRS = tyro.constructors.PrimitiveConstructorSpec(
    # tyro would make the keys of a default that is not empty options of their own
    nargs="*",
    metavar="[NAME VALUE ...]",
    instance_from_str=_parsed,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda options: [str(word) for pair in options.items() for word in pair],
)
WorkloadOptions = Annotated[dict[str, Value], PAIRS]
ASSIGNED = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="[NAME=VALUE ...]",
    instance_from_str=_assigned,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda values: [f"{name}={value}" for name, value in values.items()],
)
Assigned = Annotated[dict[str, Value], ASSIGNED]
VALUES = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="[VALUE ...]",
    instance_from_str=lambda words: tuple(map(_value, words)),
    is_instance=lambda values: isinstance(values, tuple),
    str_from_instance=lambda values: list(map(str, values)),
)
Values = Annotated[tuple, VALUES]  # numbers and texts
Budgets = Annotated[dict[str, int], PAIRS]
FOLDER = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="PATH",
    instance_from_str=_folder,
    is_instance=lambda value: isinstance(value, Path),
    str_from_instance=lambda path: [str(path)],
)
Folder = Annotated[Path, FOLDER]


def parsed(kind: Any, words: Sequence[str], **options: Any) -> Any:
    """What `tyro.cli` makes of the words. Raises StudyError where an option is typed twice."""
    raise_problems(repetition_problems(words))
    # no help is a comment: to look for them, tyro would parse whole files
    return tyro.cli(kind, args=words, config=(tyro.conf.HelptextFromCommentsOff,), **options)
