"""The schedule that path geometry prescribes: at each step the learning rate RSI / EB² that was measured."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from schedules import Family
from schedules.search import Candidate

PRESCRIBED, UNTUNED = "prescribed", "prescribed, untuned"
SMOOTHED = 3  # neighbouring measurements averaged


def prescribed_rates(steps: Float[np.ndarray, "replicates probes"]) -> Float[np.ndarray, "probes"]:
    """The learning rate at each probed step: the median of the locally optimal steps over runs, at least 0,
    averaged with its neighbours (at the ends with the one there is).

    >>> prescribed_rates(np.array([[3.0, 6.0, 3.0], [3.0, 6.0, 3.0]])).tolist()
    [4.5, 4.0, 4.5]
    """
    median = np.maximum(np.median(steps, axis=0), 0)
    window = np.ones(SMOOTHED)
    return np.convolve(median, window, "same") / np.convolve(np.ones_like(median), window, "same")


def prescribed_family(rates: Float[np.ndarray, "probes"], probe_every: int, num_steps: int) -> Family:
    """A family without parameters whose one shape goes through the prescribed rates, over their largest;
    straight between probed steps, and level after the last."""
    fractions = jnp.asarray(np.arange(len(rates)) * probe_every / num_steps, jnp.float32)
    heights = jnp.asarray(rates / np.max(rates), jnp.float32)
    return Family(PRESCRIBED, lambda x: jnp.interp(x, fractions, heights), domain={}, space={})


def untuned(rates: Float[np.ndarray, "probes"], family: Family) -> Candidate:
    """The prescribed family's one shape with the prescribed rates themselves."""
    return Candidate(replace(family, name=UNTUNED), 0, {}, float(np.max(rates)))
