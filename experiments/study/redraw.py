"""A finished study again: its config and journal read back, its results drawn without a run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from experiments.study.binding import check_config
from experiments.study.choices import StudyError
from experiments.study.devices import DEVICES
from experiments.study.evaluation import Evaluate, Remembered, Runs, UnfinishedStudy
from experiments.study.folder import StudyFolder, advice, read_config
from experiments.study.journal import Journal
from experiments.study.lock import locked

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
        reason = " ".join(advice(fields)) or error
        raise StudyError(f"{study.config} is not the config of {kind}: {reason}") from None
    if not study.journal.exists():
        raise StudyError(f"{folder} holds no journal: run the study first.")
    with locked(study.path), Journal(study.journal) as journal:
        check_config(journal, study, content)
        runs = Remembered(study, journal)
        try:
            return conclude(config, runs, runs.evaluate)
        except UnfinishedStudy as error:
            raise StudyError(f"{folder} is not finished ({error}): run the same study again.") from None


def _with_tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
