"""Signs by agreement of workers: what each sends are small whole numbers, or signs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Int8, PyTree

from optim.momentum import scale_by_momentum
from optim.options import check_choice, check_number
from optim.step import COUPLED, Decay
from optim.workers import AxisName, check_axis, mean_over, own

MOST = 127  # of an int8
SIZES = {
    "l1": jnp.mean,
    "l0": lambda size: jnp.exp(jnp.mean(jnp.log(size), where=size > 0)),
    "linf": lambda size: jnp.max(size) / 2,  # of which nothing is clipped: the largest is L
}


class LionCubState(NamedTuple):
    """Each worker's running average of its gradients, and the steps so far of all."""

    momentum: PyTree
    count: Int[Array, ""]

    common = ("count",)


def lion_cub(
    learning_rate: optax.ScalarOrSchedule,
    *,
    axis_name: AxisName | None,
    workers: int,
    scale: str = "l1",
    sync_every: ArrayLike | None = None,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    weight_decay: ArrayLike = 1e-3,
    decay: Decay = COUPLED,
) -> optax.GradientTransformation:
    """Lion by a sum of small whole numbers (Lion Cub, arXiv:2411.16462): an int8 for each parameter.

    Worker k of K has the blend c = β₁m + (1 - β₁)g of its own gradient, and for each tensor its own scale s,
    and

        q_k = clip(round(c/s · L/2), -L, L),  L = ⌊127/K⌋,  x ← x - η sign(Σ_k q_k) - ηλx,  m ← β₂m + (1 -
        β₂)g.

    No sum leaves the range of an int8. One worker sends nothing and is `optax.lion`. Of many the "l1" scale
    misses few of the signs of the mean (2 % at K = 8 where signal and noise are of a size), a "vote" of signs
    many (23 %), half of them at K = 2, where they tie and the step is 0.

    Gradients are each worker's own, before any average, and the parameters the same for all. A worker with a
    NaN or an infinity in a tensor sends zeros for it, for good, since its momentum keeps it.

    Args:
      learning_rate: η, a number or a schedule.
      axis_name: of the workers: of a mesh inside `shard_map`, or of `jax.vmap`, see `on_workers`.
      workers: K, from 1 to 127.
      scale: s, the mean of |c| ("l1"), its geometric mean over what is not 0 ("l0") or half its largest
        ("linf", which depends on the size of the tensor and is the worst); or "vote", where q_k = sign(c).
      sync_every: steps from one average of the workers' momenta to the next; never when None. It moves the
        mean of the momenta by nothing.
      b1: β₁.
      b2: β₂.
      weight_decay: λ; see `Decay` for what it is multiplied with.
      decay: how the decay follows the learning rate, and which leaves it spares.

    Raises:
      ValueError: an option is outside what it may be; or, in an update, the axis has another number of
        workers.
    """
    check_choice("scale", scale, (*SIZES, "vote"))
    _check_workers(axis_name, workers)
    if sync_every is not None:
        check_number("sync_every", sync_every, 1)
    for name, value in {"b1": b1, "b2": b2}.items():
        check_number(name, value, 0, 1)
    check_number("weight_decay", weight_decay, 0)

    def init(params):
        _check_floats(params)
        return LionCubState(own(optax.tree.zeros_like(params), axis_name), jnp.zeros([], jnp.int32))

    def update(updates, state, params=None):
        blends = optax.tree.update_moment(updates, state.momentum, b1, 1)
        directions = _agreed_signs(blends, axis_name, workers, scale)
        momentum = optax.tree.update_moment(updates, state.momentum, b2, 1)
        momentum = optax.tree.cast_like(momentum, state.momentum)
        count = optax.safe_increment(state.count)
        if sync_every is not None and workers > 1:
            average = lambda m: own(mean_over(m, axis_name), axis_name)  # noqa: E731
            momentum = jax.lax.cond(count % sync_every == 0, average, lambda m: m, momentum)
        return optax.tree.cast_like(directions, updates), LionCubState(momentum, count)

    step = decay.step(learning_rate, weight_decay)
    return optax.chain(optax.GradientTransformation(init, update), step)


def distributed_signum(
    learning_rate: optax.ScalarOrSchedule,
    momentum: ArrayLike = 0.9,
    *,
    axis_name: AxisName | None,
    workers: int,
    weight_decay: ArrayLike = 0.0,
    decay: Decay = COUPLED,
) -> optax.GradientTransformation:
    """Signum by the workers' vote (arXiv:1810.05291), with each worker's own momentum:

        M_k ← βM_k + (1 - β)G_k,  W ← W - η sign(Σ_k sign(M_k)) - ηλW.

    A tie, or an entry that is 0 for all, is no step. One worker is `signum`.

    Args:
      learning_rate: η, a number or a schedule.
      momentum: β in [0, 1).
      axis_name: of the workers: of a mesh inside `shard_map`, or of `jax.vmap`, see `on_workers`.
      workers: K, from 1 to 127.
      weight_decay: λ; see `Decay` for what it is multiplied with.
      decay: how the decay follows the learning rate, and which leaves it spares.

    Raises:
      ValueError: an option is outside what it may be; or, in an update, the axis has another number of
        workers.
    """
    check_number("weight_decay", weight_decay, 0)
    _check_workers(axis_name, workers)
    average = scale_by_momentum(momentum)

    def init(params):
        _check_floats(params)
        return own(average.init(params), axis_name)

    def update(updates, state, params=None):
        averages, state = average.update(updates, state, params)
        signs = _agreed_signs(averages, axis_name, workers, "vote")
        return optax.tree.cast_like(signs, updates), state

    step = decay.step(learning_rate, weight_decay)
    return optax.chain(optax.GradientTransformation(init, update), step)


def _agreed_signs(blends: PyTree, axis_name: AxisName | None, workers: int, scale: str) -> PyTree:
    """The signs of the workers' sum, or of the one worker's own."""
    check_axis(axis_name, workers)
    if workers == 1:
        return jax.tree.map(jnp.sign, blends)
    sent = jax.tree.map(lambda blend: whole_numbers(blend, MOST // workers, scale), blends)
    return jax.tree.map(jnp.sign, jax.lax.psum(sent, axis_name))


def whole_numbers(blend: Float[Array, "..."], most: int, scale: str) -> Int8[Array, "..."]:
    """q, at most `most` in size: what is 0 or not a number is 0."""
    blend = blend.astype(jnp.promote_types(blend.dtype, jnp.float32))
    if scale == "vote":
        numbers = jnp.sign(blend)
    else:
        steps = blend / SIZES[scale](jnp.abs(blend)) * (most / 2)
        numbers = jnp.clip(jnp.round(steps), -most, most)
    return jnp.where(jnp.isnan(numbers), 0, numbers).astype(jnp.int8)


def _check_workers(axis_name: AxisName | None, workers: int) -> None:
    check_number("workers", workers, 1, MOST + 1)
    if axis_name is None and workers > 1:
        raise ValueError(f"axis_name must be given for {workers} workers")


def _check_floats(params: PyTree) -> None:
    kinds = {leaf.dtype for leaf in jax.tree.leaves(params)}
    if not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
        raise ValueError(f"params must be of real numbers, got {sorted(map(str, kinds))}")
