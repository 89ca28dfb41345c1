"""What a journal is tied to: the study's config, and the fingerprint of a workload that is the caller's own.

They are recorded before all else, so that every digest of the chain depends on them.
"""

from collections.abc import Mapping
from typing import Any

from experiments.study.options.errors import StudyError
from experiments.study.storage.alike import alike
from experiments.study.storage.folder import StudyFolder, difference
from experiments.study.storage.journal import Journal

STUDY = "study"  # the event
SAME_LOSS = 1e-4  # relative: as much as processors and precisions may differ in the loss of one example


def bind(
    journal: Journal, folder: StudyFolder, config: Mapping[str, Any], fingerprint: Mapping[str, Any] | None
) -> None:
    """Tie an empty journal to a study; make sure that any other one is of this study.

    Args:
      config: the content of config.json.
      fingerprint: of the workload, where that is the caller's own; see `workloads.fingerprint`.

    Raises StudyError where the journal is of another study: what differs is named.
    """
    check_config(journal, folder, config)
    recorded = journal.once(STUDY, lambda: {"config": config, "workload": fingerprint})["workload"]
    if alike(recorded, fingerprint, SAME_LOSS):
        return
    if not (recorded and fingerprint):
        kinds = ("the caller's own" if facts else "the one of that name" for facts in (recorded, fingerprint))
        raise StudyError("workload: {} made the runs in {}, now it is {}.".format(*kinds, folder.journal))
    changed = [name for name in recorded if not alike(recorded[name], fingerprint.get(name), SAME_LOSS)]
    raise StudyError(
        f"workload: its {' and '.join(changed)} changed since the runs in {folder.journal} were made."
        " Choose another folder, or delete this one."
    )


def check_config(journal: Journal, folder: StudyFolder, config: Mapping[str, Any]) -> None:
    """Raise StudyError unless a journal, if it holds anything, is of the study with this config."""
    facts = journal.events(STUDY)
    if not facts and journal.counts():
        raise StudyError(f"{folder.journal} does not say of which study its runs are.")
    differing = facts and difference(facts[0]["config"], config, "in the journal", "in config.json")
    if differing:
        raise StudyError(
            f"{folder.journal} is not the journal of the study that {folder.config} tells of:\n{differing}\n"
            "Put back the one that belongs to the other, or choose another folder."
        )
