"""The study itself: every contestant tuned and scored, journaled, then timed."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from experiments.adaptive_batch_size.config import Config
from experiments.adaptive_batch_size.findings import winners_json
from experiments.adaptive_batch_size.report import write_report
from experiments.adaptive_batch_size.results import Results, collect
from experiments.adaptive_batch_size.strategies import Contestant, contestants
from experiments.adaptive_batch_size.timing import Timing, measure_timings
from experiments.adaptive_batch_size.training import trial_runner
from experiments.study.evaluation import Evaluate, UnfinishedStudy, journaled
from experiments.study.folder import StudyFolder, open_folder, write_atomically
from experiments.study.journal import Journal
from experiments.study.progress import Progress
from experiments.study.redraw import redraw_from_journal
from experiments.study.setup import check_workload, load_workload, study_mesh
from experiments.study.tuning import Tuned, tune
from workloads import Workload


def run(
    config: Config,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    console: Console | None = None,
) -> Results:
    """Compare, or go on with what `folder` holds; write claims, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      workload: what to train, when it is the caller's own; `config.workload` is then only its name.
      devices: how many devices to use, all when None; without effect on the scores.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve; nothing was trained.
    """
    workload = load_workload(config.workload, config.workload_options) if workload is None else workload
    check_workload(workload, config.metric, config.large_batch, config.samples // config.large_batch)
    mesh = study_mesh(devices)
    study = open_folder(Path(folder), dataclasses.asdict(config))
    planned = len(contestants(config)) * (config.budget.runs + config.confirm_replicates)
    progress = Progress(planned, console or Console(), quiet=console is None)
    with Journal(study.journal) as journal, progress:

        def evaluate(contestant: Contestant) -> Evaluate:
            runner = trial_runner(contestant, config, workload, mesh)
            return journaled(journal, runner, config.metric, config.budget.runs_per_rate, progress)

        tuned = _tune_all(config, evaluate)
        timings = _remembered_timings(study) or measure_timings(tuned, config, workload)
        content = {name: timing._asdict() for name, timing in timings.items()}
        write_atomically(_timings_path(study), json.dumps(content, indent=2) + "\n")
        return _conclude(config, study, journal, tuned, timings)


def redraw(folder: str | Path) -> Results:
    """Write the claims, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of adaptive batch sizes.
    """
    return redraw_from_journal(folder, "a study of adaptive batch sizes", Config, _conclude_again)


def _tune_all(config: Config, evaluate: Callable[[Contestant], Evaluate]) -> dict[str, Tuned]:
    return {str(c): tune(str(c), c.centre(config), config.budget, evaluate(c)) for c in contestants(config)}


def _conclude_again(config: Config, study: StudyFolder, journal: Journal, evaluate: Evaluate) -> Results:
    tuned = _tune_all(config, lambda contestant: evaluate)
    timings = _remembered_timings(study)
    if timings is None:
        raise UnfinishedStudy("the timings are missing")
    return _conclude(config, study, journal, tuned, timings)


def _conclude(
    config: Config,
    study: StudyFolder,
    journal: Journal,
    tuned: Mapping[str, Tuned],
    timings: Mapping[str, Timing],
) -> Results:
    results = collect(tuned, timings, config, journal)
    write_atomically(study.winners, json.dumps(winners_json(results), indent=2) + "\n")
    write_report(results, study)
    return results


def _timings_path(study: StudyFolder) -> Path:
    return study.path / "timings.json"


def _remembered_timings(study: StudyFolder) -> dict[str, Timing] | None:
    path = _timings_path(study)
    if not path.exists():
        return None
    return {name: Timing(**content) for name, content in json.loads(path.read_text()).items()}
