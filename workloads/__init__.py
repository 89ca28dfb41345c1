"""What is trained, and the run itself."""

from workloads.catalog import WORKLOADS, load
from workloads.mesh import run_mesh
from workloads.precision import with_compute_dtype
from workloads.sweep import replicated, sweep
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
    "replicated",
    "run_keys",
    "run_mesh",
    "subset_indices",
    "sweep",
    "train",
    "with_compute_dtype",
]
