"""Which devices a study runs on, what memory they have, and where their programs are kept."""

import contextlib
import os
from pathlib import Path

import jax
from jax.sharding import Mesh

from experiments.study.options.errors import StudyError


def device_class(mesh: Mesh) -> str:
    """Whether a study has one device or several, for which XLA compiles the same program otherwise.

    Results differ by round-off between the two, and a search that branches on them may take another path; so
    it belongs to a study's config.
    """
    return "one" if mesh.size == 1 else "several"


def one_device_per_core() -> None:
    """Let a CPU count as one device per core, so that the runs of a sweep use them all.

    Without effect where a number of CPU devices was chosen before, or JAX is in use already.
    """
    if jax.config.jax_num_cpu_devices >= 0 or "device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", cpu_cores())


def started_devices() -> list[jax.Device]:
    """All devices. Raises StudyError where there are none such as the environment asks for."""
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where the platform is known and has none
        wanted = os.environ.get("JAX_PLATFORMS")
        hint = f" (JAX_PLATFORMS is {wanted!r})" if wanted else ""
        raise StudyError(f"JAX finds no devices{hint}: {str(error) or 'there are none'}") from None


def cpu_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def keep_compiled_programs() -> None:
    """Keep what is compiled in the user's cache folder, for the next process that needs the same program.

    Processes may share the folder. JAX writes in place and without a lock, but compressed: a program that
    another process has half written, or a kill left so, does not decompress and is compiled anew, with a
    warning.

    Without effect where JAX_COMPILATION_CACHE_DIR or a configuration chose a folder before;
    JAX_ENABLE_COMPILATION_CACHE=false turns it off.
    """
    if jax.config.jax_compilation_cache_dir is None:
        with contextlib.suppress(RuntimeError):  # a user without a home keeps none
            cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            jax.config.update("jax_compilation_cache_dir", str(cache / "steepest" / "compiled"))


def device_memory(mesh: Mesh) -> int:
    """The bytes that are free on each device of the mesh; CPU devices share what the machine has."""
    devices = mesh.local_devices
    statistics = [device.memory_stats() for device in devices]
    if all(statistics):
        return min(statistic["bytes_limit"] - statistic["bytes_in_use"] for statistic in statistics)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // len(devices)
