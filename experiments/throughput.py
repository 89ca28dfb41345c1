"""How fast runs, recursions and schedules are on this machine, as ratios measured in one run.

Absolute speeds depend on the machine and its neighbours; so every comparison alternates the two sides,
repeat by repeat, and reports the median of the paired ratios. `python -m experiments.throughput` prints it.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

import workloads
from experiments.study.devices import one_device_per_core
from schedules import FAMILIES, Family
from workloads.linear_regression import exact_losses, expected_losses, power_law_spectrum, random_kernel

DIMENSION, REGRESSION_BATCH, REGRESSION_STEPS = 64, 8, 200
DIGITS_BATCH, DIGITS_STEPS = 64, 500
SCHEDULES, SCHEDULE_STEPS = 10_000, 1_000


class Side(NamedTuple):
    """One side of a comparison: what to time, and how many runs (or schedules) one call computes."""

    call: Callable[[], object]
    runs: int


class Comparison(NamedTuple):
    """Runs per second of both sides, and how many times faster the first is, over alternating repeats."""

    subject: str
    ours: float
    baseline: float
    ratio: float


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure the speed of runs, recursions and schedules as ratios to step-by-step Python loops."""

    repeats: int = 5
    """Alternating repeats of each comparison; medians are reported."""

    def __post_init__(self):
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")


def compare(subject: str, ours: Side, baseline: Side, repeats: int) -> Comparison:
    """Time both sides in turn, after one call of each to compile."""
    _seconds(ours.call), _seconds(baseline.call)
    times = np.array([(_seconds(ours.call), _seconds(baseline.call)) for _ in range(repeats)])
    speeds = np.array([ours.runs, baseline.runs]) / times
    return Comparison(subject, *np.median(speeds, axis=0), np.median(speeds[:, 0] / speeds[:, 1]))


def monte_carlo() -> Side:
    """Linear regression as this project runs it: one scan a run, mapped over the devices."""
    runs, workload = 2048, workloads.load("linear_regression", dimension=DIMENSION)

    def one_run(row, data):
        keys = workloads.run_keys(row["key"])
        finished = workloads.train(
            workload, data, optax.sgd, row["learning_rates"], keys, batch_size=REGRESSION_BATCH
        )
        return finished.metrics

    inputs = {"learning_rates": _regression_rates(runs), "key": jax.random.split(jax.random.key(0), runs)}
    return Side(lambda: workloads.sweep(one_run, inputs, workload.data, vectorize=64), runs)


def incumbent_monte_carlo(runs: int = 256) -> Side:
    """Linear regression as the incumbent runs it: a Python loop over a jitted step under `vmap`."""
    kernel = random_kernel(jax.random.key(0), power_law_spectrum(DIMENSION))
    rates = _regression_rates(runs)

    @jax.jit
    @jax.vmap
    def step(z, rate, key):
        batch = jax.random.choice(key, DIMENSION, (REGRESSION_BATCH,), replace=False)
        return z - rate * DIMENSION / REGRESSION_BATCH * kernel[:, batch] @ z[batch]

    def call():
        z = jax.random.normal(jax.random.key(1), (runs, DIMENSION))
        for t in range(REGRESSION_STEPS):
            z = step(z, rates[:, t], jax.random.split(jax.random.key(t), runs))
        return jnp.mean(z**2, axis=1) / 2

    return Side(call, runs)


def mean_field(runs: int = 65_536) -> Side:
    """The mean-field recursion of linear regression, mapped over the devices."""
    rates = _regression_rates(runs)

    def losses(learning_rates, spectrum):
        return expected_losses(learning_rates, spectrum, REGRESSION_BATCH)[-1]

    spectrum = power_law_spectrum(DIMENSION)
    return Side(lambda: workloads.sweep(losses, rates, spectrum, vectorize=64), runs)


def exact(runs: int = 32) -> Side:
    """The exact recursion in float64, one schedule after the other."""
    with jax.enable_x64(True):
        losses = jax.jit(
            lambda rates, kernel: jax.lax.map(lambda r: exact_losses(r, kernel, REGRESSION_BATCH), rates)
        )
        kernel = random_kernel(jax.random.key(0), power_law_spectrum(DIMENSION))
        rates = _regression_rates(runs).astype(jnp.float64)

    def call():
        with jax.enable_x64(True):
            return losses(rates, kernel)

    return Side(call, runs)


def digits_sweep(runs: int = 64) -> Side:
    """The digits MLP as this project runs it: one scan a run, mapped over the devices."""
    workload = workloads.load("digits")

    def one_run(row, data):
        keys = workloads.run_keys(row["key"])
        finished = workloads.train(
            workload, data, optax.adam, row["learning_rates"], keys, batch_size=DIGITS_BATCH
        )
        return finished.metrics

    inputs = {
        "learning_rates": jnp.full((runs, DIGITS_STEPS), 1e-3),
        "key": jax.random.split(jax.random.key(0), runs),
    }
    return Side(lambda: workloads.sweep(one_run, inputs, workload.data), runs)


def digits_loop(runs: int = 1) -> Side:
    """The digits MLP run by run: a Python loop over a jitted step, host batches, one device, blocking."""
    workload = workloads.load("digits")
    host_data = jax.tree.map(np.asarray, workload.data)
    transformation = optax.adam(1e-3)

    @jax.jit
    def step(params, state, batch, key):
        gradient = jax.grad(workload.loss)(params, batch, key)
        updates, state = transformation.update(gradient, state)
        return optax.apply_updates(params, updates), state

    evaluate = jax.jit(workload.evaluate)

    def call():
        for seed in range(runs):
            key = jax.random.key(seed)
            params = workload.init(key)
            state = transformation.init(params)
            for rows in np.asarray(workload.indices(key, DIGITS_BATCH, DIGITS_STEPS)):
                params, state = jax.block_until_ready(
                    step(params, state, workload.batch(host_data, rows), key)
                )
            metrics = evaluate(params, workload.data)
        return metrics

    return Side(call, runs)


def schedules_at_once(family: Family) -> Side:
    """Ten thousand schedules of a family in one call."""
    params = family.sample(jax.random.key(0), SCHEDULES)
    build = jax.jit(jax.vmap(lambda p: family.multipliers(p, SCHEDULE_STEPS)))
    return Side(lambda: build(params), SCHEDULES)


def cosine_schedules_in_python(count: int = 100) -> Side:
    """Cosine schedules computed step by step in Python."""

    def call():
        table = np.zeros((count, SCHEDULE_STEPS))
        for row, warmup in enumerate(np.linspace(0.01, 0.3, count)):
            for t in range(SCHEDULE_STEPS):
                x = t / SCHEDULE_STEPS
                decayed = (1 + np.cos(np.pi * (x - warmup) / (1 - warmup))) / 2
                table[row, t] = x / warmup if x < warmup else decayed
        return table

    return Side(call, count)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    one_device_per_core()
    console = Console(width=None if sys.stdout.isatty() else 110)
    try:
        options = tyro.cli(Options, prog="python -m experiments.throughput", args=arguments)
    except ValueError as error:
        console.print(f"error: {error}")
        return 2
    console.print(
        f"{len(jax.devices())} {jax.default_backend()} devices, medians of {options.repeats} repeats"
    )
    incumbent = incumbent_monte_carlo()
    loops = [
        compare("linear regression, Monte-Carlo", monte_carlo(), incumbent, options.repeats),
        compare("linear regression, mean field", mean_field(), incumbent, options.repeats),
        compare("linear regression, exact", exact(), incumbent, options.repeats),
        compare("digits MLP, 500 Adam steps", digits_sweep(), digits_loop(), options.repeats),
    ]
    table = Table("", "runs/s", "Python loop, runs/s", "ratio")
    for row in loops:
        table.add_row(row.subject, f"{row.ours:,.0f}", f"{row.baseline:,.1f}", f"{row.ratio:,.1f}×")
    console.print(table)
    python = cosine_schedules_in_python()
    table = Table("family", f"ms for {SCHEDULES:,} schedules of {SCHEDULE_STEPS:,} steps", "× Python loop")
    for family in FAMILIES.values():
        row = compare(family.name, schedules_at_once(family), python, options.repeats)
        table.add_row(row.subject, f"{1e3 * SCHEDULES / row.ours:.1f}", f"{row.ratio:,.0f}×")
    console.print(table)
    return 0


def _regression_rates(runs: int) -> jax.Array:
    return jnp.tile(jnp.linspace(0.1, 4.0, runs)[:, None], (1, REGRESSION_STEPS))


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
