"""Where the studies of a measurement live."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from experiments.study.options.errors import StudyError


@contextlib.contextmanager
def scratch_folder(folder: Path | None) -> Iterator[Path]:
    """`folder`, to keep; a temporary one where it is None. Raises StudyError where it is not empty."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="endurance-") as temporary:
            yield Path(temporary)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise StudyError(f"folder: must be new or empty, got {folder}: what is there would be resumed.")
    yield folder
