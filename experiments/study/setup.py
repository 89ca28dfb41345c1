"""What every study does before its first run: load the workload, check it, find the devices."""

from collections.abc import Mapping

import jax
from jax.sharding import Mesh

import workloads
from experiments.study.choices import StudyError, choice_problem
from experiments.study.shape_runs import best_metric
from workloads import Workload


def load_workload(name: str, options: Mapping[str, int | float | str]) -> Workload:
    """The workload of that name with its options. Raises StudyError where there is none such."""
    problem = choice_problem("workload", name, workloads.WORKLOADS)
    if problem:
        raise StudyError(problem)
    try:
        return workloads.load(name, **options)
    except (ValueError, TypeError, ImportError) as error:
        raise StudyError(f"workload_options: {error}.") from None


def check_workload(
    workload: Workload, metric: str, batch_size: int, num_steps: int, evaluations: int = 1
) -> None:
    """Raise StudyError unless the workload has the metric and batches of that size.

    The lowest of several evaluations, "best_…", is a metric too where there are several.
    """
    names = workloads.metric_names(workload)
    best = [best_metric(name) for name in names] if evaluations > 1 else []
    problem = choice_problem("metric", metric, (*names, *best))
    if problem:
        raise StudyError(problem)
    try:
        jax.eval_shape(lambda key: workload.indices(key, batch_size, num_steps), jax.random.key(0))
    except ValueError as error:
        raise StudyError(f"{error}.") from None


def study_mesh(devices: int | None, data_parallel: int = 1) -> Mesh:
    """The devices that a sweep maps its runs over, all when None, `data_parallel` of them a run.

    Raises StudyError for too many, or such that do not come out even.
    """
    try:
        return workloads.run_mesh(devices, data_parallel=data_parallel)
    except ValueError as error:
        raise StudyError(f"devices: {error}.") from None
