"""The best open-loop schedule for a loss that is differentiable in all learning rates, by its gradient.

The loss is the caller's: learning rates [steps] → a positive number, such as the last of
`workloads.linear_regression.exact_losses`. What is descended on is its logarithm, so that a start that is ten
orders above the best still has a slope, and on the logarithms of the learning rates, which keeps them
positive. Such losses have many minima: the lowest of many starts and two methods is called best found, and no
more is claimed.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from schedules.descent import MINIMISERS, Minimiser
from schedules.families import FAMILIES
from schedules.search.keys import named_key

Loss = Callable[[Float[Array, "steps"]], Float[Array, ""]]

START_SHAPES = ("constant", "linear", "cosine")
PERTURBATION = 0.3  # standard deviation of a perturbed start's log learning rates


class FoundSchedule(NamedTuple):
    """Where a descent over schedules ended.

    Attributes:
      learning_rates: the schedule.
      loss: its loss, +inf where the descent diverged.
      evaluations: of the loss and its gradient.
    """

    learning_rates: Float[Array, "steps"]
    loss: Float[Array, ""]
    evaluations: Array


class BestSchedule(NamedTuple):
    """All descents over schedules.

    Attributes:
      found: by the names of start and minimiser.
      best: the names of the lowest loss.
    """

    found: Mapping[tuple[str, str], FoundSchedule]
    best: tuple[str, str]

    @property
    def best_found(self) -> FoundSchedule:
        return self.found[self.best]


def best_schedule(
    loss: Loss,
    starts: Mapping[str, Float[Array, "steps"]],
    evaluations: int,
    minimisers: Mapping[str, Minimiser] = MINIMISERS,
) -> BestSchedule:
    """Descend from every start with every minimiser, each compiled once for all starts.

    Args:
      loss: what to minimise, see above.
      starts: positive learning rates by name, such as `schedule_starts`.
      evaluations: of the loss and its gradient, at most, for each descent.
      minimisers: by name, L-BFGS and Adam unless given.
    """
    stacked = jnp.stack(list(starts.values()))
    found = {}
    for name, minimise in minimisers.items():
        ends = jax.jit(_descents, static_argnums=(0, 2, 3))(loss, stacked, minimise, evaluations)
        found |= {
            (start, name): jax.tree.map(lambda leaf, place=place: leaf[place], ends)
            for place, start in enumerate(starts)
        }
    return BestSchedule(found, min(found, key=lambda names: float(found[names].loss)))


def descend_schedule(
    loss: Loss, start: Float[Array, "steps"], minimise: Minimiser, evaluations: int
) -> FoundSchedule:
    """One descent from positive learning rates; jittable, and mappable over starts."""
    end = minimise(lambda logs: jnp.log(loss(jnp.exp(logs))), jnp.log(start), evaluations)
    return FoundSchedule(jnp.exp(end.point), jnp.exp(end.value), end.evaluations)


def schedule_starts(
    num_steps: int, scales: tuple[float, ...], perturbed: int, key: PRNGKeyArray
) -> dict[str, Float[Array, "steps"]]:
    """Starts by what they are: constant, linear and cosine at each scale, then `perturbed` random ones.

    A perturbed start is constant at one of the scales in turn, times exp(0.3 ξ_t) with normal ξ_t: from a
    smooth start alone, symmetry keeps a descent away from the spiky schedules that can be better. Linear and
    cosine are those of `FAMILIES`, without warm-up; both are positive at every step.

    >>> list(schedule_starts(4, (1.0,), 1, jax.random.key(0)))
    ['constant × 1', 'linear × 1', 'cosine × 1', 'perturbed 0']
    """
    starts = {
        f"{name} × {scale:g}": scale * FAMILIES[name].multipliers({"warmup": 0.0}, num_steps)
        for name in START_SHAPES
        for scale in scales
    }
    for number in range(perturbed):
        noise = jax.random.normal(named_key(key, "perturbed", number), (num_steps,))
        starts[f"perturbed {number}"] = scales[number % len(scales)] * jnp.exp(PERTURBATION * noise)
    return starts


def _descents(loss: Loss, starts: Array, minimise: Minimiser, evaluations: int) -> FoundSchedule:
    return jax.lax.map(lambda start: descend_schedule(loss, start, minimise, evaluations), starts)
