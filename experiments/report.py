"""Of which study a folder is."""

from collections.abc import Sequence
from pathlib import Path

from experiments.studies import JOBS, QUESTIONS
from experiments.study.options.errors import StudyError
from experiments.study.storage.folder import STUDY, StudyFolder, read_config


def reported(words: Sequence[str]) -> tuple[str, list[str]]:
    """The study that `report FOLDER …` is about, and the words of its command line.

    Raises StudyError where no folder is named, or it is of no study of this version.
    """
    if len(words) < 2 or words[1].startswith("-"):
        raise StudyError("report: needs the folder of a finished study.")
    folder = StudyFolder(Path(words[1]))
    name = read_config(folder).get(STUDY)
    if name not in (*QUESTIONS, next(iter(JOBS))):
        raise StudyError(f"{folder.config} names no study of this version, but {name!r}.")
    return name, list(words)
