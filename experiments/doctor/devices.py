"""The devices JAX finds, whether float64 works, and where compiled programs are kept."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments.doctor.findings import Finding, probed
from experiments.study.running.devices import cpu_cores, keep_compiled_programs, one_device_per_core


def look(folder: Path) -> Iterator[Finding]:
    """The devices as studies use them, float64, and the compilation cache."""
    one_device_per_core()
    keep_compiled_programs()
    yield from probed("devices", lambda: [devices()])
    yield from probed("float64", lambda: [float64()])
    yield from probed("compiled programs", lambda: [compiled_programs()])


def devices() -> Finding:
    """Their number, platform and kind, the memory of those that have their own, and the processes."""
    kinds = Counter(_described(device) for device in jax.devices())
    found = ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
    processes = jax.process_count()
    found += f"; {processes} process{'es' if processes > 1 else ''}"
    cores = cpu_cores()
    if jax.default_backend() == "cpu" and jax.local_device_count() < cores:
        advice = f"{cores} cores: unset jax_num_cpu_devices and XLA_FLAGS for one device a core"
        return Finding("devices", found, advice)
    return Finding("devices", found)


def float64() -> Finding:
    """Whether `jax.enable_x64` gives a dtype that tells 1 from 1 + 2⁻⁵²; the exact theory needs it."""
    with jax.enable_x64(True):
        step = (jnp.float64(1) + jnp.float64(2**-52)) - jnp.float64(1)
        works = step.dtype == jnp.float64 and float(step) == 2**-52
    if works:
        return Finding("float64", "works")
    return Finding("float64", "does not work", "linear regression's exact losses need it", stops=True)


def compiled_programs() -> Finding:
    """Where they are kept for the next process, if they are."""
    if not jax.config.jax_enable_compilation_cache:
        return Finding("compiled programs", "not kept", "unset JAX_ENABLE_COMPILATION_CACHE to keep them")
    return kept_programs(Path(jax.config.jax_compilation_cache_dir))


def kept_programs(folder: Path) -> Finding:
    """How many programs a cache folder holds, and whether it can be added to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        found = f"{folder} cannot be written to: {error.strerror or error}"
        advice = "name another in JAX_COMPILATION_CACHE_DIR to keep them"
        return Finding("compiled programs", found, advice)
    sizes = [path.stat().st_size for path in folder.glob("*-cache")]
    return Finding("compiled programs", f"{len(sizes):,} in {folder}, {sum(sizes) / 1e6:,.1f} MB")


def _described(device: jax.Device) -> str:
    kind = " ".join(dict.fromkeys((device.platform, device.device_kind)))
    memory = device.memory_stats()
    return f"{kind} of {memory['bytes_limit'] / 1e9:,.0f} GB" if memory else kind
