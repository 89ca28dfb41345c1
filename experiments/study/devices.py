"""Which devices a study runs on."""

import contextlib
import os

import jax


def one_device_per_core() -> None:
    """Let a CPU count as one device per core, so that the runs of a sweep use them all.

    Without effect where a number of CPU devices was chosen before, or JAX is in use already.
    """
    if jax.config.jax_num_cpu_devices >= 0 or "device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", cores)
