"""Every test runs on eight simulated CPU devices, with silent rank promotion forbidden."""

import os

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# compile quickly rather than well: the tests compile thousands of programs and run each for microseconds;
# the processes that tests start must do the same, to agree in the last bit
jax.config.update("jax_disable_most_optimizations", True)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
