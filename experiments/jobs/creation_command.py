"""The command line `steepest jobs create FOLDER …`."""

from collections.abc import Sequence
from typing import Annotated

import tyro

from experiments.jobs.config import JobsConfig
from experiments.jobs.creating import create_jobs
from experiments.study.options.pairs import Folder, parsed

HELP = (
    "Begin the search of a schedule for training jobs that others run. Then `steepest ask FOLDER` prints a"
    " trial, and `steepest tell FOLDER ID VALUE` records what came of it."
)


def create(words: Sequence[str]) -> int:
    """Make the folder; returns the exit status."""

    def command(
        folder: Annotated[Folder, tyro.conf.Positional], config: tyro.conf.OmitArgPrefixes[JobsConfig]
    ) -> None:
        jobs = create_jobs(folder, config)
        runs, explored = config.runs, config.budget.explored
        print(f"{jobs.path}: {runs} runs, of which {explored} explore; next: steepest ask {jobs.path}")

    parsed(command, words, prog="steepest jobs create", description=HELP)
    return 0
