"""Every test runs on eight simulated CPU devices, with silent rank promotion forbidden."""

import gc
import os
import shutil
import tempfile

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# compile quickly rather than well: the tests compile thousands of programs and run each for microseconds;
# the processes that tests start must do the same, to agree in the last bit
jax.config.update("jax_disable_most_optimizations", True)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# likewise the older code generator, four times as quick on such small programs, and in one piece: XLA would
# cut a program into modules to compile in parallel, and the workers of pytest keep all cores busy already
QUICKLY = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *QUICKLY)).strip()

# many of these programs are the same, made again by other functions: they are compiled once a session; the
# processes that tests start have a folder of their own, since one that is killed may leave half a file
COMPILED = tempfile.mkdtemp(prefix="compiled-")
for name, value in {"min_compile_time_secs": 0, "min_entry_size_bytes": -1}.items():
    jax.config.update(f"jax_persistent_cache_{name}", value)
    os.environ[f"JAX_PERSISTENT_CACHE_{name.upper()}"] = str(value)
jax.config.update("jax_compilation_cache_dir", COMPILED)
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(COMPILED, "processes")


def pytest_collection_finish():
    """Leave what was imported, over a million objects, out of every later garbage collection."""
    gc.freeze()


def pytest_unconfigure():
    shutil.rmtree(COMPILED, ignore_errors=True)
