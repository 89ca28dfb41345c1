"""How many runs side by side a search has the memory for."""

import dataclasses
import os
from pathlib import Path

import workloads
from experiments.shape_search.config import Config
from experiments.shape_search.search import trial_runner
from experiments.study.options.errors import StudyError, raise_problems
from experiments.study.running.devices import device_memory
from experiments.study.running.setup import chunk_problems, device_problems, workload_of
from experiments.study.running.sweeping import Sweep
from experiments.study.storage.folder import StudyFolder, read_config


def filled(config: Config, folder: Path, devices: int | None, chunk_runs: int) -> Config:
    """The config with the widest `vectorize` that fits each device's free memory, as the compiler plans it.

    A study that was begun in `folder` keeps its own: the width changes the last bits of its results.

    Raises StudyError where not even one run fits.
    """
    study = StudyFolder(folder)
    if os.path.exists(study.config):  # which a name that is too long is not, rather than an error
        return dataclasses.replace(config, vectorize=read_config(study).get("vectorize", config.vectorize))
    workload, problems = workload_of(config)
    raise_problems([*problems, *chunk_problems(chunk_runs), *device_problems(devices, config.data_parallel)])
    mesh = workloads.run_mesh(devices, data_parallel=config.data_parallel)
    runner = trial_runner(config, workload, Sweep(mesh), chunk_runs)
    try:
        vectorize = runner.fitting_vectorize(config.num_steps, device_memory(mesh))
    except ValueError as error:
        raise StudyError(f"fill_memory: {error}.") from None
    return dataclasses.replace(config, vectorize=vectorize)
