"""A config as it was typed: built whatever it holds, so that all that is wrong with it is told at once."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from experiments.study.choices import raise_problems
from experiments.study.config import StudyConfig, WorkloadConfig
from experiments.study.devices import started_devices
from experiments.study.processes import Cluster
from experiments.study.setup import device_problems, workload_of

ConfigT = TypeVar("ConfigT", bound=StudyConfig)


def unchecked(config: ConfigT) -> ConfigT:
    """The same config, of a class of the same fields that takes any values."""
    kind = type(config)
    return _of_kind(type(kind.__name__, (kind,), {"__post_init__": lambda self: None}), config)


def checked(config: ConfigT, cluster: Cluster, devices: int | None, problems: Sequence[str] = ()) -> ConfigT:
    """The config that `unchecked` has, of its own class again.

    Raises StudyError where there are `problems`, or anything is wrong with the config by itself or with the
    cluster: then with what is wrong because of the workload and the devices too, which otherwise are asked
    when the study is opened. Where the devices cannot be started, nothing else is told.
    """
    if cluster.address is None:  # else there are more than are known before the processes meet
        started_devices()
    found = [*cluster.problems(), *problems, *config.problems()]
    if found:
        if isinstance(config, WorkloadConfig):
            found += workload_of(config)[1]
        if cluster.address is None:
            found += device_problems(devices, config.data_parallel if config.sound("data_parallel") else 1)
        raise_problems(found)
    return _of_kind(type(config).__base__, config)


def _of_kind(kind: type[ConfigT], config: StudyConfig) -> ConfigT:
    return kind(**{field.name: getattr(config, field.name) for field in dataclasses.fields(config)})
