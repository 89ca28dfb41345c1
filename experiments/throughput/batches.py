"""What it costs to accumulate a batch whose size is data: a step at k micro-batches over k steps at one."""

import jax
import jax.numpy as jnp
import optax
from rich.console import Console
from rich.table import Table

import optim
import workloads
from experiments.throughput.measure import Side, compare
from experiments.throughput.noise import SETTINGS, Setting
from geometry import EUCLIDEAN, SIGN, SPECTRAL, Geometry

MULTIPLES = (1, 4, 16)  # micro-batches in a batch
BATCHES = 8  # a call
EVERY = 100  # batches from one measurement to the next
PARTS = 2  # of a micro-batch that makes a batch by itself, for its noise


def report_batches(repeats: int, console: Console) -> None:
    """Print the cost for every geometry on every setting."""
    table = Table("model", "ms a step", "noise scale", *(f"{k} × the batch" for k in MULTIPLES))
    for setting in SETTINGS:
        name = setting.name
        for geometry in (EUCLIDEAN, SIGN, SPECTRAL):
            rows = [_cost(setting, geometry, k, repeats) for k in MULTIPLES]
            costs = (f"{cost:.3f}×" for _, cost in rows)
            table.add_row(name, f"{1e3 * rows[0][0]:.1f}", geometry.name, *costs)
            name = ""
    console.print(table)


def _cost(setting: Setting, geometry: Geometry, multiple: int, repeats: int) -> tuple[float, float]:
    """Seconds of a plain step, and how many times k of them a step at k times the batch takes."""
    microbatches = BATCHES * multiple
    controller = optim.BatchController(
        geometry,
        multiple * setting.batch_size,
        multiple * setting.batch_size,
        quantum=setting.batch_size,
        every=EVERY,
    )

    def adaptive(schedule):
        return optim.adaptive_batch(optax.adam, schedule, controller, microbatch_size=setting.batch_size)

    ours = _run(setting, adaptive, microbatches, PARTS if multiple == 1 else 1)
    row = compare("", ours, _run(setting, optax.adam, microbatches, 1), repeats)
    return 1 / row.baseline, 1 / row.ratio


def _run(setting: Setting, optimizer: workloads.training.Optimizer, microbatches: int, parts: int) -> Side:
    """A call that trains on so many micro-batches."""
    workload = workloads.load(setting.workload, **setting.options)

    @jax.jit
    def train(learning_rates, key, data):
        run = workloads.train(
            workload,
            data,
            optimizer,
            learning_rates,
            workloads.run_keys(key),
            batch_size=setting.batch_size,
            parts=parts,
            evaluate_at=(0,),
        )
        return run.params  # and not the metrics, so that nothing is evaluated

    arguments = jnp.full(microbatches, 1e-3), jax.random.key(0), workload.data
    return Side(lambda: train(*arguments), microbatches)
