"""What it costs to accumulate a batch whose size is data: a step at k times the batch over k plain steps."""

import jax
import jax.numpy as jnp
import optax
from rich.console import Console
from rich.table import Table

import optim
import workloads
from experiments.throughput.measure import Side, compare
from experiments.throughput.noise import SETTINGS, Setting
from geometry import SPECTRAL

MULTIPLES = (1, 4, 16)  # micro-batches in a batch
MICROBATCHES = 16  # a call
PARTS = 2  # of a micro-batch that makes a batch by itself, for its noise


def report_batches(repeats: int, console: Console) -> None:
    """Print the cost on every setting, of batches that are not measured: see `report_noise` for measuring."""
    table = Table("step", "ms", *(f"{k} × the batch" for k in MULTIPLES))
    for setting in SETTINGS:
        rows = [_cost(setting, multiple, repeats) for multiple in MULTIPLES]
        table.add_row(setting.name, f"{1e3 * rows[0][0]:.1f}", *(f"{cost:.3f}×" for _, cost in rows))
    console.print(table)


def _cost(setting: Setting, multiple: int, repeats: int) -> tuple[float, float]:
    """Seconds of a plain step, and how many times k of them a step at k times the batch takes."""
    batch_size = multiple * setting.batch_size
    controller = optim.BatchController(
        SPECTRAL, batch_size, batch_size, quantum=setting.batch_size, every=2 * MICROBATCHES
    )

    def adaptive(schedule):
        return optim.adaptive_batch(optax.adam, schedule, controller, microbatch_size=setting.batch_size)

    ours = _run(setting, adaptive, PARTS if multiple == 1 else 1)
    row = compare("", ours, _run(setting, optax.adam, 1), repeats)
    return 1 / row.baseline, 1 / row.ratio


def _run(setting: Setting, optimizer: workloads.training.Optimizer, parts: int) -> Side:
    """A call that trains on MICROBATCHES micro-batches."""
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

    arguments = jnp.full(MICROBATCHES, 1e-3), jax.random.key(0), workload.data
    return Side(lambda: train(*arguments), MICROBATCHES)
