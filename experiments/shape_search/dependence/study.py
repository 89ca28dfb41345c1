"""The study itself: a search in every setting, then every setting's shape in every other."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from experiments.shape_search import search
from experiments.shape_search.config import Config
from experiments.shape_search.dependence.config import Dependence, from_fields
from experiments.shape_search.dependence.report import write_report
from experiments.shape_search.dependence.results import Results, collect, winners_json
from experiments.shape_search.dependence.transfer import transfer
from experiments.study.choices import StudyError
from experiments.study.evaluation import Evaluate, UnfinishedStudy, journaled
from experiments.study.folder import StudyFolder, open_folder, write_atomically
from experiments.study.journal import Journal
from experiments.study.progress import Progress
from experiments.study.redraw import redraw_from_journal
from experiments.study.setup import check_workload, load_workload, study_mesh
from schedules.winners import LoadedWinner, load_winner
from workloads import Workload


def run(
    dependence: Dependence,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    chunk_runs: int = 256,
    console: Console | None = None,
) -> Results:
    """Make the study, or go on with the one in `folder`; write its findings, figures and report there.

    Args:
      dependence: what is varied, see `Dependence`.
      folder: where the study lives, each setting's search in `settings/NAME`; the same study comes back to
        it and runs only what is missing.
      workload, devices, chunk_runs, console: as a shape search has them.

    Raises:
      StudyError: the workload, the folder or a journal in it does not serve; nothing was trained.
    """
    config = dependence.search
    workload = load_workload(config.workload, config.workload_options) if workload is None else workload
    _check_settings(dependence.settings, workload)
    if chunk_runs < 1:
        raise StudyError(f"chunk_runs: must be at least 1, got {chunk_runs}.")
    mesh = study_mesh(devices, config.data_parallel)
    study = open_folder(Path(folder), dependence.fields)
    options = {"devices": devices, "chunk_runs": chunk_runs, "console": console}
    for place, (name, setting) in enumerate(dependence.settings.items(), start=1):
        if not setting_folder(study, name).report.exists():  # what a search writes last
            if console:
                console.print(f"{name}, setting {place} of {len(dependence.settings)}")
            search.run(setting, setting_folder(study, name).path, workload, **options)
    progress = Progress(dependence.transfer_runs, console or Console(), quiet=console is None)
    with Journal(study.journal) as journal, progress:

        def evaluate_in(setting: Config) -> Evaluate:
            runner = search.trial_runner(setting, workload, mesh, chunk_runs)
            return journaled(journal, runner, setting.metric, chunk_runs, progress)

        return _conclude(dependence, study, journal, evaluate_in)


def redraw(folder: str | Path) -> Results:
    """Write the findings, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished dependence study.
    """

    def conclude(dependence: Dependence, study: StudyFolder, journal: Journal, evaluate: Evaluate) -> Results:
        return _conclude(dependence, study, journal, lambda setting: evaluate)

    return redraw_from_journal(folder, "a dependence study", from_fields, conclude)


def setting_folder(study: StudyFolder, name: str) -> StudyFolder:
    """Where the search of a setting lives."""
    return StudyFolder(study.path / "settings" / name)


def _check_settings(settings: Mapping[str, Config], workload: Workload) -> None:
    """Raise StudyError, with all that is wrong, unless the workload serves every setting."""
    problems = []
    for name, config in settings.items():
        try:
            check_workload(workload, config.metric, config.batch_size, config.num_steps, config.evaluations)
        except StudyError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise StudyError("\n".join(problems))


def _conclude(
    dependence: Dependence,
    study: StudyFolder,
    journal: Journal,
    evaluate_in: Callable[[Config], Evaluate],
) -> Results:
    shapes = {name: _best_shape(study, name) for name in dependence.settings}
    transferred = {
        name: transfer(name, shapes, config.budget, evaluate_in(config))
        for name, config in dependence.settings.items()
    }
    results = collect(dependence, shapes, transferred, journal)
    write_atomically(study.winners, json.dumps(winners_json(results), indent=2) + "\n")
    write_report(results, study)
    return results


def _best_shape(study: StudyFolder, name: str) -> LoadedWinner:
    path = setting_folder(study, name).winners
    try:
        return load_winner(path)
    except FileNotFoundError:
        raise UnfinishedStudy(f"the search of {name} is missing") from None
    except ValueError as error:
        raise StudyError(f"{error}.") from None
