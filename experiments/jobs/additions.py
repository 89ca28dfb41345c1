"""What a jobs folder is given from outside: runs that were made before, and schedules to be tried."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.jobs.csv_runs import read_runs, read_schedule
from experiments.jobs.folder import Jobs
from experiments.jobs.proposing import config_of, own_family
from experiments.jobs.state import ADDED, Imported, State, state_of
from experiments.jobs.store import Transaction, transaction
from experiments.study.options.errors import StudyError, choice_problem
from schedules import FAMILIES, Family
from schedules.groups import RATIO
from schedules.search import Candidate, Trial


def import_runs(jobs: Jobs, files: Sequence[str], rates: Sequence[str], score: str | None) -> int:
    """Let the search learn from runs of elsewhere; how many were new. See `csv_runs.read_runs`.

    Args:
      rates: the column of the learning rates, which may be left out, or one for each group.
      score: the column of the score; that of the metric's name when None.
    """
    with transaction(jobs.record) as opened:
        state = state_of(opened.events)
        config = config_of(state.config)
        points, groups = config.budget.num_steps, config.groups
        if len(rates) != len(groups) and (groups or len(rates) > 1):
            wanted = f"a column for each of {' and '.join(groups)}" if groups else "one column"
            raise StudyError(f"rate: must be {wanted}, got {' '.join(rates) or 'none'}.")
        runs = read_runs(files, rates, score or config.metric_name, config.num_steps, points)
        kept = [Imported(run.name, opened.keep(run.learning_rates.tobytes()), run.value) for run in runs]
        new = [run._asdict() for run in kept if run not in state.imported]
        if new:
            opened.append("imported", time=time.time(), runs=new)
    return len(new)


def add_shape(jobs: Jobs, family: str, params: Mapping[str, float], base_lr: float) -> str:
    """Ask for a schedule of a family that is searched, once; the name of its trial."""
    with transaction(jobs.record) as opened:
        state = state_of(opened.events)
        if problem := choice_problem("family", family, state.config["families"]):
            raise StudyError(problem)
        return _add(jobs, opened, state, FAMILIES[family], params, base_lr)


def add_schedule(jobs: Jobs, path: Path, params: Mapping[str, float], base_lr: float | None) -> str:
    """Ask for the learning rates of a CSV file, once; the name of its trial.

    Args:
      params: the ratio, where there are groups: the file holds the rates of the first; and the power that
        they are taken to, where it is not 1, for each of the shapes.
      base_lr: what their largest is to be; as it is when None.
    """
    with transaction(jobs.record) as opened:
        state = state_of(opened.events)
        rates = read_schedule(path, state.config["num_steps"])
        multipliers = (rates / rates.max()).astype(np.float32)
        digest = opened.keep(multipliers.tobytes())
        names = {known: name for name, known in state.own.items()}
        if digest not in names:
            names[digest] = f"own_{len(state.own) + 1}"
            opened.append("added", name=names[digest], multipliers=digest)
        family = own_family(names[digest], multipliers)
        shapes = [name for name in config_of(state.config).space(family).family.space if name != RATIO]
        params = {**dict.fromkeys(shapes, 1.0), **params}
        return _add(jobs, opened, state, family, params, base_lr or float(rates.max()))


def _add(
    jobs: Jobs, opened: Transaction, state: State, family: Family, params: Mapping[str, float], base_lr: float
) -> str:
    config = config_of(state.config)
    grouped = config.space(family).family
    try:
        grouped.check(params)
    except ValueError as error:
        raise StudyError(f"params: {error}.") from None
    if not 0 < base_lr < 1e30:
        raise StudyError(f"base_lr: must be positive and finite, got {base_lr}.")
    for trial in state.trials.values():
        if (trial.stage, trial.family, trial.params, trial.base_lr) == (ADDED, family.name, params, base_lr):
            return trial.id
    if "finalists" in state.decisions:
        raise StudyError("The finalists are chosen: nothing more can be added to this search.")
    number = sum(trial.family == family.name for trial in state.trials.values())
    added = sum(trial.stage == ADDED for trial in state.trials.values())
    trial = Trial(ADDED, Candidate(grouped, number, dict(params), base_lr), config.budget.num_steps, added)
    name = state.name_of(len(state.trials) + 1)
    described = jobs.proposer(state).described(trial, name, opened)
    opened.append("proposed", time=time.time(), trials=[described])
    return name
