"""What every study does before its first run: load the workload, check it, find the devices."""

from collections.abc import Mapping

import jax

import workloads
from experiments.study.options.checks import Count, value_problems
from experiments.study.options.config import WorkloadConfig
from experiments.study.options.errors import StudyError, choice_problem
from workloads import Workload


def load_workload(name: str, options: Mapping[str, int | float | str]) -> Workload:
    """The workload of that name with its options. Raises StudyError where there is none such."""
    problem = choice_problem("workload", name, workloads.WORKLOADS)
    if problem:
        raise StudyError(problem)
    try:
        return workloads.load(name, **options)
    except (ValueError, TypeError, ImportError, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        raise StudyError(f"workload_options: {error}.") from None


def workload_of(
    config: WorkloadConfig, workload: Workload | None = None
) -> tuple[Workload | None, list[str]]:
    """The workload of a config, loaded unless it is given, and what is wrong with the config because of it.

    None where there is no such workload.
    """
    loaded = [] if workload else list(config.loaded_problems())
    try:
        workload = workload or load_workload(config.workload, config.workload_options)
    except StudyError as error:
        return None, [str(error), *loaded]
    return workload, [*config.workload_problems(workload), *loaded]


def chunk_problems(chunk_runs: int) -> list[str]:
    """What is wrong with the number of runs in a chunk."""
    return value_problems("chunk_runs", chunk_runs, Count)


def device_problems(devices: int | None, data_parallel: int = 1) -> list[str]:
    """What is wrong unless a sweep can map its runs over so many devices, `data_parallel` of them a run."""
    try:
        mesh = workloads.run_mesh(devices, data_parallel=data_parallel)
    except ValueError as error:
        return [f"devices: {error}."]
    idle = set(range(jax.process_count())) - {device.process_index for device in mesh.devices.flat}
    return [f"devices: the first {devices} leave none to the processes {sorted(idle)}."] if idle else []
