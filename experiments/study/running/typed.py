"""A config as it was typed: all that is wrong with it is told at once."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from experiments.study.options.config import StudyConfig, WorkloadConfig
from experiments.study.options.errors import raise_problems
from experiments.study.running.devices import started_devices
from experiments.study.running.processes import Cluster
from experiments.study.running.setup import device_problems, workload_of

ConfigT = TypeVar("ConfigT", bound=StudyConfig)


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
