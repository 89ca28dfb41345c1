"""What every study does before its first run: load the workload, check it, find the devices."""

from collections.abc import Mapping

import jax
from jax.sharding import Mesh

import workloads
from experiments.study.choices import StudyError, choice_problem
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


def check_workload(workload: Workload, metric: str, batch_size: int, num_steps: int) -> None:
    """Raise StudyError unless the workload has the metric and batches of that size."""
    problem = choice_problem("metric", metric, workloads.metric_names(workload))
    if problem:
        raise StudyError(problem)
    try:
        jax.eval_shape(lambda key: workload.indices(key, batch_size, num_steps), jax.random.key(0))
    except ValueError as error:
        raise StudyError(f"{error}.") from None


def study_mesh(devices: int | None) -> Mesh:
    """The devices that a sweep maps its runs over, all when None. Raises StudyError for too many."""
    try:
        return workloads.run_mesh(devices)
    except ValueError as error:
        raise StudyError(f"devices: {error}.") from None
