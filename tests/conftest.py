"""Every test runs on eight simulated CPU devices, with silent rank promotion forbidden."""

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
