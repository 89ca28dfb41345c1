"""What somebody may type behind the options of a study: words for every kind of field, sound and absurd."""

import dataclasses
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from experiments.studies import load

SEARCHES = ("shape_search", "shape_dependence")  # which have flags, and save their runs
LARGE = ["2147483648", "1000000000000", "9" * 30]
INTEGERS = ["0", "-1", "1", "2", "3", "8", "64", *LARGE, "nan", "1.5", "many"]
NOT_FINITE = ["nan", "inf", "-inf", "1e999"]
NUMBERS = ["0", "-1", "1", "0.5", *NOT_FINITE, "1e-320", "1e300", "-0.0", "0.9999999999999999"]
ODD = ["", "β", "[/red]", "{x}", "--"]
TEXTS = [*ODD, "digits", "linear_regression", "rex", "cosine", "adamw", "sgd", "train_loss"]
NAMES = ["model", "cnn", "dimension", "exponent", "kernel_seed", "folder"]
PAIRS = [*NAMES, "8", "8.5", "nan", "-1", "99999999999"]
BESIDE = {  # options that are no field of a config
    "folder": str,
    "devices": int | None,
    "num_processes": int | None,
    "process_id": int | None,
    "coordinator": str | None,
    "nonsense": str,
}
BESIDE_SEARCH = {"chunk_runs": int, "checkpoint_steps": int, "checkpoint_seconds": float}
SHORT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
FLAGS = ["--quick", "--fill-memory", "--no-quick", "--help"]


def hints_of(config: Any) -> dict[str, Any]:
    """Every field with its annotation."""
    hints = get_type_hints(type(config), include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(config)}


def bare(hint: Any) -> Any:
    """An annotation without what `Annotated` adds to it."""
    return bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def words_for(hint: Any) -> st.SearchStrategy[list[str]]:
    """The words behind an option with this annotation, sometimes too few or too many."""
    hint = bare(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return words_for(arguments[0]) | st.just(["None"])
    if origin is Literal:
        return st.sampled_from([*arguments, "nonesuch"]).map(lambda word: [word])
    if origin is dict:
        return st.lists(st.sampled_from([*PAIRS, *TEXTS, "trust_region", "random"]), max_size=4)
    if hint is tuple:
        return words_for(tuple[str, ...]) | words_for(tuple[float, ...])
    if origin is tuple:
        several = st.lists(words_for(arguments[0]), max_size=4)
        return several.map(lambda lists: [word for words in lists for word in words])
    sound = {int: INTEGERS, float: NUMBERS}.get(hint, TEXTS)
    element = st.sampled_from(sound) if hint in (int, float) else st.sampled_from(sound) | SHORT
    return st.lists(element, min_size=1, max_size=1) | st.lists(element, max_size=2)


def command_lines(study: str) -> st.SearchStrategy[list[str]]:
    """Words for the command line of a study."""
    presets = load(study).presets
    extra = BESIDE | BESIDE_SEARCH if study in SEARCHES else BESIDE
    lines = [_lines_of(name, hints_of(config) | extra) for name, config in presets.items()]
    flags = st.sampled_from(FLAGS).map(lambda flag: [flag]) if study in SEARCHES else st.just([])
    return st.builds(list.__add__, st.one_of(lines), st.just([]) | flags)


def _lines_of(preset: str, fields: dict[str, Any]) -> st.SearchStrategy[list[str]]:
    options = [
        words_for(hint).map(lambda words, name=name: [f"--{name.replace('_', '-')}", *words])
        for name, hint in fields.items()
    ]
    chosen = st.lists(st.one_of(options), min_size=1, max_size=5)
    return chosen.map(lambda lists: [*[preset] * bool(preset), *(word for words in lists for word in words)])
