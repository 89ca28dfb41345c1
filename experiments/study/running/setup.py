"""What every study does before its first run: check its config, load the workload, find the devices."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax

import workloads
from experiments.study.options.config import StudyConfig
from experiments.study.options.errors import StudyError, choice_problem, raise_problems
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.running.devices import started_devices
from experiments.study.running.processes import Cluster
from workloads import Workload

ConfigT = TypeVar("ConfigT", bound=StudyConfig)


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


def device_problems(devices: int | None, data_parallel: int = 1) -> list[str]:
    """What is wrong unless a sweep can map its runs over so many devices, `data_parallel` of them a run."""
    try:
        mesh = workloads.run_mesh(devices, data_parallel=data_parallel)
    except ValueError as error:
        return [f"devices: {error}."]
    idle = set(range(jax.process_count())) - {device.process_index for device in mesh.devices.flat}
    return [f"devices: the first {devices} leave none to the processes {sorted(idle)}."] if idle else []


def checked(
    kind: type[ConfigT],
    values: Mapping[str, Any],
    cluster: Cluster,
    devices: int | None,
    problems: Sequence[str] = (),
) -> ConfigT:
    """The config with these values.

    Raises StudyError where there are `problems`, or anything is wrong with the config by itself or with the
    cluster: then with what is wrong because of the workload and the devices too, which otherwise are asked
    when the study is opened. Where the devices cannot be started, nothing else is told.
    """
    if cluster.address is None:  # else there are more than are known before the processes meet
        started_devices()
    config = _unchecked(kind, values)
    wrong = [*cluster.problems(), *problems, *config.problems()]
    if wrong:
        if isinstance(config, WorkloadConfig):
            wrong += workload_of(config)[1]
        if cluster.address is None:
            wrong += device_problems(devices, config.data_parallel if config.sound("data_parallel") else 1)
        raise_problems(wrong)
    return kind(**values)


def _unchecked(kind: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """A config that holds anything: the problems of all its fields are asked of itself."""
    config = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(config, name, value)
    return config
