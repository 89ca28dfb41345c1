"""What every study does before its first run: load the workload, check it, find the devices."""

from collections.abc import Mapping

import jax

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


def workload_problems(
    workload: Workload, metric: str, batch_size: int, num_steps: int, evaluations: int = 1
) -> list[str]:
    """What is wrong unless the workload has the metric and batches of that size.

    The lowest of several evaluations, "best_…", is a metric too where there are several.
    """
    names = workloads.metric_names(workload)
    best = [best_metric(name) for name in names] if evaluations > 1 else []
    problems = [choice_problem("metric", metric, (*names, *best))]
    try:
        jax.eval_shape(lambda key: workload.indices(key, batch_size, num_steps), jax.random.key(0))
    except ValueError as error:
        problems.append(f"{error}.")
    return [problem for problem in problems if problem]


def chunk_problems(chunk_runs: int) -> list[str]:
    """What is wrong with the number of runs in a chunk."""
    return [f"chunk_runs: must be at least 1, got {chunk_runs}."] if chunk_runs < 1 else []


def device_problems(devices: int | None, data_parallel: int = 1) -> list[str]:
    """What is wrong unless a sweep can map its runs over so many devices, `data_parallel` of them a run."""
    try:
        mesh = workloads.run_mesh(devices, data_parallel=data_parallel)
    except ValueError as error:
        return [f"devices: {error}."]
    idle = set(range(jax.process_count())) - {device.process_index for device in mesh.devices.flat}
    return [f"devices: the first {devices} leave none to the processes {sorted(idle)}."] if idle else []
