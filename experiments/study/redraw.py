"""A finished study again: its config and journal read back, its results drawn without a run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from experiments.study.choices import StudyError
from experiments.study.devices import DEVICES
from experiments.study.evaluation import Evaluate, UnfinishedStudy, remembered
from experiments.study.folder import StudyFolder, read_config
from experiments.study.journal import Journal
from experiments.study.lock import locked

ConfigT = TypeVar("ConfigT")
ResultsT = TypeVar("ResultsT")


def redraw_from_journal(
    folder: str | Path,
    kind: str,
    build_config: Callable[..., ConfigT],
    conclude: Callable[[ConfigT, StudyFolder, Journal, Evaluate], ResultsT],
) -> ResultsT:
    """What `conclude` makes of a finished study whose every score the journal holds.

    Args:
      folder: the study's.
      kind: what the study is called in messages, such as "a shape search".
      build_config: the fields of config.json → the study's config; lists have become tuples.
      conclude: (config, folder, journal, evaluate) → results; may raise UnfinishedStudy.

    Raises StudyError where the folder holds no finished study of that kind, or is in use.
    """
    study = StudyFolder(Path(folder))
    content = _with_tuples(read_config(study))
    content.pop(DEVICES, None)  # which decided the runs, and no more decides anything
    try:
        config = build_config(**content)
    except (TypeError, StudyError) as error:
        raise StudyError(f"{study.config} is not the config of {kind}: {error}") from None
    if not study.journal.exists():
        raise StudyError(f"{folder} holds no journal: run the study first.")
    with locked(study.path), Journal(study.journal) as journal:
        try:
            return conclude(config, study, journal, remembered(journal))
        except UnfinishedStudy as error:
            raise StudyError(f"{folder} is not finished ({error}): run the same study again.") from None


def _with_tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
