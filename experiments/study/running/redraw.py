"""A finished study again: its config and journal read back, its results drawn without a run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from experiments.study.options.errors import StudyError
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Remembered, Runs, UnfinishedStudy
from experiments.study.storage.binding import check_config
from experiments.study.storage.folder import DEVICES, StudyFolder, read_config
from experiments.study.storage.journal import Journal
from experiments.study.storage.lock import locked

ConfigT = TypeVar("ConfigT")
ResultsT = TypeVar("ResultsT")


def redraw_from_journal(
    folder: str | Path,
    kind: str,
    build_config: Callable[..., ConfigT],
    conclude: Callable[[ConfigT, Runs, Evaluate], ResultsT],
) -> ResultsT:
    """What `conclude` makes of a finished study whose every score and decision the journal holds.

    Args:
      folder: the study's.
      kind: what the study is called in messages, such as "a shape search".
      build_config: the fields of config.json → the study's config; lists have become tuples.
      conclude: (config, runs, evaluate) → results; may raise UnfinishedStudy.

    Raises StudyError where the folder holds no finished study of that kind, its journal is another study's,
    or it is in use.
    """
    study = StudyFolder(Path(folder))
    content = read_config(study)
    fields = _with_tuples(content)
    fields.pop(DEVICES, None)  # which decided the runs, and no more decides anything
    try:
        config = build_config(**fields)
    except (TypeError, StudyError) as error:
        raise StudyError(f"{study.config} is not the config of {kind}: {error}") from None
    if not study.journal.exists():
        raise StudyError(f"{folder} holds no journal: run the study first.")
    with locked(study.path), Journal(study.journal) as journal:
        check_config(journal, study, content)
        runs = Remembered(study, journal, config)
        try:
            return conclude(config, runs, runs.evaluate)
        except UnfinishedStudy as error:
            raise StudyError(f"{folder} is not finished ({error}): run the same study again.") from None


def _with_tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
