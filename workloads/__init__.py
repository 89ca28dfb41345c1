"""What is trained, and the run itself."""

from workloads.branches import Branching, branch_sweep, trunk_states
from workloads.catalog import WORKLOADS, load
from workloads.contract import contract_problems
from workloads.fingerprint import fingerprint
from workloads.game import Game, play
from workloads.long_sweep import LongSweep, SweepState, long_sweep
from workloads.mesh import run_mesh
from workloads.precision import with_compute_dtype
from workloads.rows import replicated
from workloads.run import AtOnce, Run, RunKeys, Stages, run_keys
from workloads.shards import even_shards, sharded, skewed_shards
from workloads.sweep import sweep
from workloads.training import train, trainer
from workloads.workload import Workload, epoch_indices, metric_names, subset_indices

__all__ = [
    "WORKLOADS",
    "AtOnce",
    "Branching",
    "Game",
    "LongSweep",
    "Run",
    "RunKeys",
    "Stages",
    "SweepState",
    "Workload",
    "branch_sweep",
    "contract_problems",
    "epoch_indices",
    "even_shards",
    "fingerprint",
    "load",
    "long_sweep",
    "metric_names",
    "play",
    "replicated",
    "run_keys",
    "run_mesh",
    "sharded",
    "skewed_shards",
    "subset_indices",
    "sweep",
    "train",
    "trainer",
    "trunk_states",
    "with_compute_dtype",
]
