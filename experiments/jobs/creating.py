"""How a jobs folder begins."""

import dataclasses
import secrets
import time
from pathlib import Path

from experiments.jobs.config import JobsConfig
from experiments.jobs.folder import RECORD, Jobs
from experiments.jobs.store import check_locks, new_record
from experiments.study.storage.folder import STUDY, locked, open_folder, write_atomically

NAME = "jobs"  # of the study, in config.json
LETTERS = "bcdfghkmpqrstvwxz"  # of trials' names, which are no words, and no numbers


def create_jobs(folder: str | Path, config: JobsConfig) -> Jobs:
    """A new jobs folder, or the one that is there with the same config.

    Raises StudyError where the folder holds something else, cannot be written to, or is on a disk whose locks
    do not work.
    """
    path, content = Path(folder), dataclasses.asdict(config)
    with locked(path):
        open_folder(path, {STUDY: NAME, **content})
        if not (path / RECORD).exists():
            facts = {
                "token": "".join(secrets.choice(LETTERS) for _ in range(4)),
                "explored": config.budget.explored,
                "time": time.time(),
            }
            write_atomically(path / RECORD, new_record("created", config=content, **facts))
        check_locks(path / RECORD)
    return Jobs(path)
