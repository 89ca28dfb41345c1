"""Every test runs on eight simulated CPU devices, with silent rank promotion forbidden.

They are compiled quickly, but for those marked `bits`: what they promise is tested as users compile it, in a
session of its own, `pytest -m bits`.
"""

import gc
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# the older code generator, twice as quick on small programs and not in every jaxlib; and in one piece: XLA
# would cut a program to compile it in parallel, and the workers of pytest keep all cores busy already
QUICKLY = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")


def pytest_configure(config):
    if config.getoption("markexpr") != "bits":
        compile_quickly()
    keep_compiled_programs(config)


def compile_quickly() -> None:
    """Compile quickly rather than well: of thousands of programs, each runs for microseconds.

    The processes that tests start do the same, to agree in the last bit.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker has the environment of the process that starts it
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
        os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *known(QUICKLY))).strip()


def known(flags: Sequence[str]) -> list[str]:
    """Those flags that XLA knows here; at one that it does not know, a process ends."""
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    children = [
        subprocess.Popen(command, env={**os.environ, "XLA_FLAGS": flag}, stderr=subprocess.DEVNULL)
        for flag in flags
    ]
    return [flag for flag, child in zip(flags, children, strict=True) if child.wait() == 0]


def keep_compiled_programs(config) -> None:
    """Compile only once what other functions make again, in this process and in those that tests start.

    A worker has a folder of its own, since JAX writes in place: another would read half a file, and warn.
    """
    folder = tempfile.mkdtemp(prefix="compiled-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    for name, value in {"min_compile_time_secs": 0, "min_entry_size_bytes": -1}.items():
        jax.config.update(f"jax_persistent_cache_{name}", value)
        os.environ[f"JAX_PERSISTENT_CACHE_{name.upper()}"] = str(value)
    jax.config.update("jax_compilation_cache_dir", folder)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(folder, "processes")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Let the tests of a file run in one worker, for what they share, unless they say what they share."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def pytest_collection_finish():
    """Leave what was imported, over a million objects, out of every later garbage collection, and collect
    seldom: a trace makes objects by the ten thousand."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def programs_of_few_modules():
    """Forget what was compiled for earlier modules before it is too much: a program takes some twenty memory
    maps, Linux gives a process 65,530, and where they are used up XLA ends in a segmentation fault."""
    yield
    if memory_maps() > 20_000:
        jax.clear_caches()


def memory_maps() -> float:
    """How many this process has; too many where that is not known."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else math.inf
