"""The study itself: a search in every setting, then every setting's shape in every other."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from experiments.shape_search import search
from experiments.shape_search.config import Config
from experiments.shape_search.dependence.config import Dependence, from_fields
from experiments.shape_search.dependence.report import write_report
from experiments.shape_search.dependence.results import Results, collect, winners_json
from experiments.shape_search.dependence.transfer import transfer
from experiments.study.options.errors import StudyError
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.processes import from_first
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs, UnfinishedStudy
from experiments.study.running.segments import NOT_SAVED, Saving
from experiments.study.running.session import open_study, publish
from experiments.study.running.setup import chunk_problems, workload_of
from experiments.study.storage.folder import StudyFolder
from schedules.winners import LoadedWinner, parse_winner
from workloads import Workload


def run(
    dependence: Dependence,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    chunk_runs: int = 256,
    saving: Saving = NOT_SAVED,
    console: Console | None = None,
) -> Results:
    """Make the study, or go on with the one in `folder`; write its findings, figures and report there.

    Args:
      dependence: what is varied, see `Dependence`.
      folder: where the study lives, each setting's search in `settings/NAME`; the same study comes back to
        it and runs only what is missing.
      workload, devices, chunk_runs, saving, console: as a shape search has them.

    Raises:
      StudyError: the workload, the folder or a journal in it does not serve; nothing was trained.
    """
    own = workload
    workload, problems = _workload_of(dependence, own)
    opened = open_study(
        folder,
        dependence,
        [*problems, *chunk_problems(chunk_runs)],
        own=own,
        devices=devices,
        console=console,
        saving=saving,
    )
    with opened as study:
        for place, (name, setting) in enumerate(dependence.settings.items(), start=1):
            place_of = setting_folder(study.folder, name)
            if from_first(lambda place_of=place_of: place_of.report.exists()):  # what a search writes last
                continue
            if console:
                console.print(f"{name}, setting {place} of {len(dependence.settings)}")
            search.run(
                setting,
                place_of.path,
                own,
                devices=devices,
                chunk_runs=chunk_runs,
                saving=saving,
                console=console,
            )

        def evaluate_in(setting: Config) -> Evaluate:
            return search.evaluator(setting, workload, study, chunk_runs)

        return _conclude(dependence, study, evaluate_in)


def redraw(folder: str | Path) -> Results:
    """Write the findings, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished dependence study.
    """

    def conclude(dependence: Dependence, runs: Runs, evaluate: Evaluate) -> Results:
        return _conclude(dependence, runs, lambda setting: evaluate)

    return redraw_from_journal(folder, "a dependence study", from_fields, conclude)


def setting_folder(study: StudyFolder, name: str) -> StudyFolder:
    """Where the search of a setting lives."""
    return StudyFolder(study.path / "settings" / name)


def _workload_of(dependence: Dependence, workload: Workload | None) -> tuple[Workload | None, list[str]]:
    """The workload of all settings, and what is wrong with each because of it; see `workload_of`."""
    workload, problems = workload_of(dependence.search, workload)
    if workload is None:
        return None, problems
    return workload, [
        f"{name}: {problem}"
        for name, config in dependence.settings.items()
        for problem in config.workload_problems(workload)
    ]


def _conclude(dependence: Dependence, runs: Runs, evaluate_in: Callable[[Config], Evaluate]) -> Results:
    shapes = {name: _best_shape(runs.folder, name) for name in dependence.settings}
    transferred = {
        name: transfer(name, shapes, config.budget, evaluate_in(config), runs.once)
        for name, config in dependence.settings.items()
    }
    results = collect(dependence, shapes, transferred, runs.journal)
    return publish(results, runs, winners_json, write_report)


def _best_shape(study: StudyFolder, name: str) -> LoadedWinner:
    path = setting_folder(study, name).winners
    try:
        return parse_winner(from_first(path.read_bytes), path)
    except FileNotFoundError:
        raise UnfinishedStudy(f"the search of {name} is missing") from None
    except ValueError as error:
        raise StudyError(f"{error}.") from None
