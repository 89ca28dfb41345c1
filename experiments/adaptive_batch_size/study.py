"""The study itself: every contestant tuned and scored, journaled, then timed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.adaptive_batch_size.config import Config
from experiments.adaptive_batch_size.findings import winners_json
from experiments.adaptive_batch_size.report import write_report
from experiments.adaptive_batch_size.results import Results, collect
from experiments.adaptive_batch_size.strategies import Contestant, contestants
from experiments.adaptive_batch_size.timing import Timing, measure_timings
from experiments.adaptive_batch_size.training import trial_runner
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.segments import NOT_SAVED, Saving
from experiments.study.running.session import open_study, publish
from experiments.study.running.setup import workload_of
from experiments.study.training.tuning import Tuned, tune
from workloads import Workload


def run(
    config: Config,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    saving: Saving = NOT_SAVED,
    console: Console | None = None,
) -> Results:
    """Compare, or go on with what `folder` holds; write claims, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      workload: what to train, when it is the caller's own; `config.workload` is then only its name.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      saving: when runs are saved on the way; without effect on the results.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve; nothing was trained.
    """
    own = workload
    workload, problems = workload_of(config, own)
    opened = open_study(folder, config, problems, own=own, devices=devices, saving=saving, console=console)
    with opened as study:

        def evaluate(contestant: Contestant) -> Evaluate:
            runner = trial_runner(contestant, config, workload, study.sweep)
            return study.evaluator(lambda sweep, capacity: runner, config.metric, config.budget.runs_per_rate)

        return _conclude(config, study, _tune_all(config, evaluate), workload)


def redraw(folder: str | Path) -> Results:
    """Write the claims, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of adaptive batch sizes.
    """
    return redraw_from_journal(folder, "a study of adaptive batch sizes", Config, _conclude_again)


def _tune_all(config: Config, evaluate: Callable[[Contestant], Evaluate]) -> dict[str, Tuned]:
    return {str(c): tune(str(c), c.centre(config), config.budget, evaluate(c)) for c in contestants(config)}


def _conclude_again(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
    return _conclude(config, runs, _tune_all(config, lambda contestant: evaluate), None)


def _conclude(config: Config, runs: Runs, tuned: Mapping[str, Tuned], workload: Workload | None) -> Results:
    def measured() -> dict[str, Any]:
        timings = measure_timings(tuned, config, workload)
        return {name: timing._asdict() for name, timing in timings.items()}

    timings = {name: Timing(**fields) for name, fields in runs.once("timings", measured).items()}
    return publish(collect(tuned, timings, config, runs.journal), runs, winners_json, write_report)
