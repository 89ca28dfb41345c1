"""The command line of a study, with the options that make it one of seconds."""

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Main = Callable[[Sequence[str]], int]


def call(main: Main, *words: Any) -> tuple[int, str]:
    """The exit status of the command line, and what it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = main([str(word) for word in words])
    return status, output.getvalue()


class SmallStudy(NamedTuple):
    """A study's command line and its options by name, such as {"--batch-size": [4]}."""

    main: Main
    defaults: Mapping[str, Sequence[Any]]

    def called(self, *words: Any) -> tuple[int, str]:
        """See `call`."""
        return call(self.main, *words)

    def options(self, **changes: Sequence[Any]) -> list[Any]:
        """The words of the options, those given by name in the place of the defaults."""
        chosen = {**self.defaults, **{f"--{name.replace('_', '-')}": new for name, new in changes.items()}}
        return [word for name, values in chosen.items() for word in (name, *values)]

    def finish(self, folder: Path) -> tuple[Path, str]:
        """Run the study to its end; returns its folder and what it printed."""
        status, output = self.called(*self.options(), "--folder", folder)
        assert status == 0, output
        return folder, output
