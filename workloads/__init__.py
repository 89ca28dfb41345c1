"""What is trained, and the run itself."""

from workloads.catalog import WORKLOADS, load
from workloads.sweep import run_mesh, sweep
from workloads.training import Run, RunKeys, run_keys, train
from workloads.workload import Workload, epoch_indices, metric_names, subset_indices

__all__ = [
    "WORKLOADS",
    "Run",
    "RunKeys",
    "Workload",
    "epoch_indices",
    "load",
    "metric_names",
    "run_keys",
    "run_mesh",
    "subset_indices",
    "sweep",
    "train",
]
