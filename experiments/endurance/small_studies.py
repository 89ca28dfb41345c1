"""The small form of every study: one that takes seconds, in enough chunks that a kill falls between two."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from experiments.studies import QUESTIONS, load
from experiments.study.options.checks import EACH_ONCE, entries


class SmallStudy(NamedTuple):
    """A study by name, and the words of its command line."""

    study: str
    words: str


STUDIES: Mapping[str, SmallStudy] = MappingProxyType(
    {name: SmallStudy(study, words) for study in QUESTIONS for name, words in load(study).small.items()}
)
Studies = Annotated[tuple[Literal[tuple(STUDIES)], ...], entries(1), EACH_ONCE]
