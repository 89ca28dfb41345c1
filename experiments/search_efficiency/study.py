"""The study itself: all searches, journaled, and what they show."""

from pathlib import Path

from rich.console import Console

from experiments.search_efficiency import landscape, training
from experiments.search_efficiency.config import Config, Landscape, Training
from experiments.search_efficiency.findings import winners_json, write_report
from experiments.search_efficiency.judging import Judged
from experiments.search_efficiency.results import Results, collect
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.session import open_study, publish
from experiments.study.running.setup import workload_of


def run(
    config: Config, folder: str | Path, *, devices: int | None = None, console: Console | None = None
) -> Results:
    """Make the study, or go on with the one in `folder`; write its findings, figures and report there.

    Args:
      config: a `Landscape` or a `Training`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve; nothing was searched.
    """
    workload, problems = None, []
    if isinstance(config, Training):
        workload, problems = workload_of(config)
    opened = open_study(folder, config, problems, devices=devices, console=console)
    with opened as study:
        judged = landscape.run(config, study) if workload is None else training.run(config, workload, study)
        return _conclude(config, study, judged)


def redraw(folder: str | Path) -> Results:
    """Write the findings, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of search efficiency.
    """

    def conclude(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
        if isinstance(config, Landscape):
            return _conclude(config, runs, landscape.judge(config, runs.journal))
        return _conclude(config, runs, training.judge(config, runs.journal, evaluate))

    return redraw_from_journal(folder, "a study of search efficiency", _config, conclude)


def _config(**fields) -> Config:
    return (Training if "workload" in fields else Landscape)(**fields)


def _conclude(config: Config, runs: Runs, judged: Judged) -> Results:
    return publish(collect(judged, config, runs.journal), runs, winners_json, write_report)
