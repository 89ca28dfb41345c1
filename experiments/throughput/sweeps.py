"""How fast runs, recursions and schedules are, against step-by-step Python loops."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import workloads
from experiments.throughput.measure import Side, compare, sweep_side
from schedules import FAMILIES, Family
from workloads.linear_regression import exact_losses, expected_losses, power_law_spectrum, random_kernel

DIMENSION, REGRESSION_BATCH, REGRESSION_STEPS = 64, 8, 200
DIGITS_BATCH, DIGITS_STEPS = 64, 500
SCHEDULES, SCHEDULE_STEPS = 10_000, 1_000


def report_sweeps(repeats: int, console: Console) -> None:
    """Print runs per second of sweeps and recursions, and milliseconds for ten thousand schedules."""
    incumbent = incumbent_monte_carlo()
    loops = [
        compare("linear regression, Monte-Carlo", monte_carlo(), incumbent, repeats),
        compare("linear regression, mean field", mean_field(), incumbent, repeats),
        compare("linear regression, exact", exact(), incumbent, repeats),
        compare("digits MLP, 500 Adam steps", digits_sweep(), digits_loop(), repeats),
    ]
    table = Table("", "runs/s", "Python loop, runs/s", "ratio")
    for row in loops:
        table.add_row(row.subject, f"{row.ours:,.0f}", f"{row.baseline:,.1f}", f"{row.ratio:,.1f}×")
    console.print(table)
    python = cosine_schedules_in_python()
    table = Table("family", f"ms for {SCHEDULES:,} schedules of {SCHEDULE_STEPS:,} steps", "× Python loop")
    for family in FAMILIES.values():
        row = compare(family.name, schedules_at_once(family), python, repeats)
        table.add_row(row.subject, f"{1e3 * SCHEDULES / row.ours:.1f}", f"{row.ratio:,.0f}×")
    console.print(table)


def monte_carlo() -> Side:
    """Linear regression as this project runs it."""
    workload = workloads.load("linear_regression", dimension=DIMENSION)
    return sweep_side(workload, optax.sgd, _regression_rates(2048), REGRESSION_BATCH, vectorize=64)


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
    """The digits MLP as this project runs it."""
    rates = jnp.full((runs, DIGITS_STEPS), 1e-3)
    return sweep_side(workloads.load("digits"), optax.adam, rates, DIGITS_BATCH)


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


def _regression_rates(runs: int) -> jax.Array:
    return jnp.tile(jnp.linspace(0.1, 4.0, runs)[:, None], (1, REGRESSION_STEPS))
