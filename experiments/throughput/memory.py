"""What sweeps take of the memory, against what was planned for them."""

import ctypes
import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import workloads
from experiments.study.running.devices import one_device_per_core
from experiments.study.running.stopping import follow_parent
from workloads import Workload
from workloads.images import CIFAR_CNN, ImageData, classification
from workloads.memory import sweep_memory

STEPS = 5
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Setting(NamedTuple):
    """A sweep: what makes its workload, the examples in a step, the runs a device computes side by side."""

    name: str
    workload: Callable[[], Workload]
    batch_size: int
    vectorize: int


class Measured(NamedTuple):
    """Bytes on all devices: as planned, the data's part of it, and the most that was taken."""

    planned: int
    data: int
    peak: int


def full_size_cifar10() -> Workload:
    """The CIFAR-10 CNN on as many random images as there are published ones."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (count, 32, 32, 3), np.uint8) for count in (50_000, 10_000)]
    labels = [random.integers(0, 10, len(batch)) for batch in images]
    return classification(ImageData(images[0], labels[0], images[1], labels[1]), CIFAR_CNN)


SETTINGS = (
    Setting("digits MLP", functools.partial(workloads.load, "digits"), 64, 64),
    Setting("digits CNN", functools.partial(workloads.load, "digits", model="cnn"), 64, 8),
    Setting("Shakespeare, laptop size", functools.partial(workloads.load, "shakespeare"), 16, 8),
    Setting("CIFAR-10 CNN, 60,000 images", full_size_cifar10, 64, 1),
    Setting("CIFAR-10 CNN, 60,000 images", full_size_cifar10, 64, 4),
)


def report_memory(repeats: int, console: Console) -> None:
    """Print plan and peak of every setting; a peak is measured once, for it hardly varies."""
    table = Table("sweep", "side by side", "planned, MB", "of it data", "peak, MB", "planned / peak")
    for setting in SETTINGS:
        measured = measure_apart(setting) if jax.default_backend() == "cpu" else measure(setting)
        table.add_row(
            setting.name,
            str(setting.vectorize),
            *(f"{1e-6 * size:,.0f}" for size in measured),
            f"{measured.planned / measured.peak:.2f}",
        )
    console.print(table)


def measure_apart(setting: Setting) -> Measured:
    """Measure in a process of its own: what others freed before may serve again, and would not be counted."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_begin) as pool:
        return pool.submit(measure, setting).result()


def _begin() -> None:
    follow_parent()
    one_device_per_core()


def measure(setting: Setting) -> Measured:
    """Plan a sweep over all devices, and run it."""
    workload, mesh = setting.workload(), workloads.run_mesh()
    rows = {
        "rates": np.full((mesh.size * setting.vectorize, STEPS), 1e-3, np.float32),
        "key": jax.random.split(jax.random.key(0), mesh.size * setting.vectorize),
    }

    def stages(row, data):
        keys = workloads.run_keys(row["key"])
        options = {"batch_size": setting.batch_size}
        trained = workloads.trainer(workload, data, optax.adam, row["rates"], keys, **options)
        return trained._replace(finish=lambda run: trained.finish(run).metrics)

    def sweep():
        data = workloads.replicated(host, mesh)
        long = workloads.long_sweep(stages, rows, data, mesh=mesh, vectorize=setting.vectorize)
        return jax.block_until_ready(long.whole(STEPS))

    memory = sweep_memory(stages, rows, workload.data, mesh=mesh, vectorize=setting.vectorize)
    host = jax.tree.map(np.asarray, workload.data)
    sweep()  # compiles
    return Measured(mesh.size * memory.total, mesh.size * memory.data, _peak_above(sweep))


def _peak_above(call: Callable[[], object]) -> int:
    """The most bytes that a call takes beyond those in use before, on all devices together."""
    statistics = [device.memory_stats() for device in jax.local_devices()]
    if all(statistics):
        call()
        peaks = [device.memory_stats()["peak_bytes_in_use"] for device in jax.local_devices()]
        return sum(peaks) - sum(statistic["bytes_in_use"] for statistic in statistics)
    ctypes.CDLL(None).malloc_trim(0)  # hand back what was freed: taken again, it would not be counted
    CLEAR.write_text("5")  # the peak starts anew, says proc(5)
    resting = resident("VmRSS")
    call()
    return resident("VmHWM") - resting


def resident(name: str) -> int:
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(name)]
    return 1024 * int(line.split()[1])
