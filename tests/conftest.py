"""Every test runs on eight simulated CPU devices, with silent rank promotion forbidden."""

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# compile quickly rather than well: the tests compile thousands of programs and run each for microseconds
jax.config.update("jax_disable_most_optimizations", True)
