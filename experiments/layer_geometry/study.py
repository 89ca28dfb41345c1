"""The study itself: measured runs, then the index's choice of geometry against either alone, journaled."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from experiments.layer_geometry.choosing import choosing_runner
from experiments.layer_geometry.config import WAYS, Config
from experiments.layer_geometry.layers import Layer, layers_of
from experiments.layer_geometry.measurement import measured_trials, measurement_runner
from experiments.layer_geometry.report import write_report
from experiments.layer_geometry.results import Results, collect, winners_json
from experiments.layer_geometry.series import read_series
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.session import open_study, publish
from experiments.study.running.setup import load_workload, workload_of
from experiments.study.training.tuning import tune
from workloads import Workload


def run(
    config: Config,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    console: Console | None = None,
) -> Results:
    """Measure, or go on with what `folder` holds; write claims, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      workload: what to train, when it is the caller's own; `config.workload` is then only its name, and
        `report FOLDER` cannot draw it again.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve, and nothing was trained; or
        nearly all measured runs diverged.
    """
    own = workload
    workload, problems = workload_of(config, own)
    opened = open_study(folder, config, problems, own=own, devices=devices, console=console)
    with opened as study:
        measure = measurement_runner(config, workload, study.sweep)
        study.evaluator(lambda sweep, capacity: measure, config.metric, study.sweep.mesh.size)(
            measured_trials(config)
        )

        def evaluate(way: str) -> Evaluate:
            runner = choosing_runner(way, config, workload, study.sweep)
            return study.evaluator(lambda sweep, capacity: runner, config.metric, config.budget.runs_per_rate)

        return _conclude(config, study, evaluate, layers_of(workload))


def redraw(folder: str | Path) -> Results:
    """Write the claims, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of layer geometry.
    """

    def conclude(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
        layers = layers_of(load_workload(config.workload, config.workload_options))
        return _conclude(config, runs, lambda way: evaluate, layers)

    return redraw_from_journal(folder, "a study of layer geometry", Config, conclude)


def _conclude(
    config: Config, runs: Runs, evaluate: Callable[[str], Evaluate], layers: tuple[Layer, ...]
) -> Results:
    tuned = {way: tune(way, config.central_rate, config.budget, evaluate(way)) for way in WAYS}
    results = collect(read_series(runs.journal, layers, config), tuned, config, runs.journal)
    return publish(results, runs, winners_json, write_report)
