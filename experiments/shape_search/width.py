"""How many runs side by side a search has the memory for."""

import dataclasses
from pathlib import Path

from experiments.shape_search.config import Config
from experiments.shape_search.search import trial_runner
from experiments.study.choices import StudyError
from experiments.study.devices import device_memory
from experiments.study.folder import StudyFolder, read_config
from experiments.study.setup import check_workload, load_workload, study_mesh


def filled(config: Config, folder: Path, devices: int | None, chunk_runs: int) -> Config:
    """The config with the widest `vectorize` that fits each device's free memory, as the compiler plans it.

    A study that was begun in `folder` keeps its own: the width changes the last bits of its results.

    Raises StudyError where not even one run fits.
    """
    study = StudyFolder(folder)
    if study.config.exists():
        return dataclasses.replace(config, vectorize=read_config(study).get("vectorize", config.vectorize))
    workload = load_workload(config.workload, config.workload_options)
    check_workload(workload, config.metric, config.batch_size, config.num_steps, config.evaluations)
    mesh = study_mesh(devices, config.data_parallel)
    runner = trial_runner(config, workload, mesh, chunk_runs)
    try:
        vectorize = runner.fitting_vectorize(config.num_steps, device_memory(mesh))
    except ValueError as error:
        raise StudyError(f"fill_memory: {error}.") from None
    return dataclasses.replace(config, vectorize=vectorize)
