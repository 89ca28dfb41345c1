"""How calls are measured: two sides timed in turn."""

import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, PyTree

import workloads
from workloads import Workload
from workloads.training import Optimizer

GEMM_SIZE = 2048


class Side(NamedTuple):
    """One side of a comparison: what to time, and how many runs (or schedules) one call computes."""

    call: Callable[[], object]
    runs: int


class Comparison(NamedTuple):
    """Runs per second of both sides, and how many times faster the first is, over alternating repeats.

    All are medians; `interval` is that of the ratio, see `median_interval`.
    """

    subject: str
    ours: float
    baseline: float
    ratio: float
    interval: tuple[float, float]


def compare(
    subject: str, ours: Side, baseline: Side, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> Comparison:
    """Time both sides in turn, after one call of each to compile; by `time.process_time`, the seconds are
    those of all cores, and others on the machine change them little."""
    sides = (ours.call, baseline.call)
    times = np.array([[_seconds(call, clock) for call in sides] for _ in range(repeats + 1)][1:])
    speeds = np.array([ours.runs, baseline.runs]) / times
    return _comparison(subject, *speeds.T)


def share_of_gemm_peak(call: Callable[[], object], flops: float, repeats: int) -> Comparison:
    """FLOP/s of a call that computes `flops`, of GEMMs timed just before and after it, and their ratio."""
    peak = gemms()
    _seconds(call), _seconds(peak.call)
    times = np.array([[_seconds(timed) for timed in (peak.call, call, peak.call)] for _ in range(repeats)])
    speeds = np.array([peak.runs, flops, peak.runs]) / times
    peaks = (speeds[:, 0] + speeds[:, 2]) / 2
    return _comparison("", speeds[:, 1], peaks)


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The narrowest order statistics, as far from either end, that hold the median that often.

    They are the range below six values, which holds it less often.

    >>> median_interval([5, 1, 2, 4, 9, 7, 8, 3, 6])
    (2.0, 8.0)
    """
    ordered = np.sort(np.asarray(values, float))
    cut = max(int(scipy.stats.binom.ppf((1 - confidence) / 2, len(ordered), 0.5)) - 1, 0)
    return float(ordered[cut]), float(ordered[-1 - cut])


def _comparison(subject: str, ours: np.ndarray, baseline: np.ndarray) -> Comparison:
    ratios = ours / baseline
    return Comparison(
        subject, np.median(ours), np.median(baseline), np.median(ratios), median_interval(ratios)
    )


def gemms(count: int = 4) -> Side:
    """Float32 products of square matrices on every device at once; `runs` is how many FLOPs they are."""
    matrix = jnp.full((GEMM_SIZE, GEMM_SIZE), 1 / GEMM_SIZE)
    matrices = [jax.device_put(matrix, device) for device in jax.devices()]
    square = jax.jit(lambda a: a @ a)

    def products():
        return [square(matrix) for _ in range(count) for matrix in matrices]

    return Side(products, len(matrices) * count * 2 * GEMM_SIZE**3)


def sweep_side(
    workload: Workload,
    optimizer: Optimizer,
    learning_rates: Float[Array, "runs steps"],
    batch_size: int,
    vectorize: int = 1,
    read: Literal["metrics", "params"] = "metrics",
) -> Side:
    """A call that trains runs as this project does, one scan a run, mapped over the devices, and reads their
    metrics or parameters."""
    runs = len(learning_rates)

    def one_run(row, data):
        keys = workloads.run_keys(row["key"])
        run = workloads.train(workload, data, optimizer, row["rates"], keys, batch_size=batch_size)
        return getattr(run, read)

    inputs = {"rates": learning_rates, "key": jax.random.split(jax.random.key(0), runs)}
    return Side(lambda: workloads.sweep(one_run, inputs, workload.data, vectorize=vectorize), runs)


def steps_side(workload: Workload, optimizer: Optimizer, batch_size: int, steps: int = 5) -> Side:
    """A call that takes the first steps of a run on one device."""
    begin, advance = compiled_run(workload, optimizer, batch_size, steps)
    state = begin(workload.data)
    return Side(lambda: advance(workload.data, state, 0, steps), steps)


def compiled_run(
    workload: Workload, optimizer: Optimizer, batch_size: int, steps: int
) -> tuple[Callable[..., PyTree], Callable[..., PyTree]]:
    """The compiled first stages of a run, of the data and a state."""

    def stages(data):
        rates, keys = jnp.full(steps, 1e-3), workloads.run_keys(jax.random.key(0))
        return workloads.trainer(workload, data, optimizer, rates, keys, batch_size=batch_size)

    return (
        jax.jit(lambda data: stages(data).begin()),
        jax.jit(lambda data, state, start, until: stages(data).advance(state, start, until)),
    )


def _seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    begun = clock()
    jax.block_until_ready(call())
    return clock() - begun
