"""Command lines as a test needs them: changed, called, and what they print and paint."""

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from experiments.endurance.apart import STUDIES
from experiments.studies import load
from experiments.study.command import typed
from experiments.study.options.config import StudyConfig

Main = Callable[[Sequence[str]], int]
SAVE_FIGURE, LAY_OUT = Figure.savefig, ConstrainedLayoutEngine.execute


def call(main: Main, *words: Any) -> tuple[int, str]:
    """The exit status of the command line, whether it returns or exits, and all that it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            status = main([str(word) for word in words])
        except SystemExit as end:
            status = end.code
    return status, output.getvalue()


@contextlib.contextmanager
def painting() -> Iterator[None]:
    """Figures are laid out and painted, as they are outside the tests."""
    with (
        mock.patch.object(Figure, "savefig", SAVE_FIGURE),
        mock.patch.object(ConstrainedLayoutEngine, "execute", LAY_OUT),
    ):
        yield


def unwrapped(text: str) -> str:
    """A text without its line breaks and frames."""
    return " ".join(text.replace("│", " ").split())


def changed(form: str, changes: str) -> list[str]:
    """The words of a small form in which other options replace those of their names."""
    words = STUDIES[form].words.split()
    preset = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
    chosen = _by_option(words[len(preset) :]) | _by_option(changes.split())
    return [*preset, *itertools.chain.from_iterable(chosen.values())]


def config_of(form: str, changes: str = "") -> StudyConfig:
    """The config of a small form so changed."""
    line = typed(load(STUDIES[form].study), changed(form, changes))
    return line.kind(**line.values)


def _by_option(words: Sequence[str]) -> dict[str, list[str]]:
    """{option: it and its values}; of an option that comes twice, the last."""
    starts = [*(place for place, word in enumerate(words) if word.startswith("--")), len(words)]
    return {words[start]: words[start:end] for start, end in itertools.pairwise(starts)}
