"""Steps of workers on their own, and an outer optimizer on what they agree on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree, UInt32

from optim.options import at_step, check_number, is_zero
from optim.workers import AxisName, check_axis, mean_over, own

Inner = optax.GradientTransformation | Callable[[optax.Schedule], optax.GradientTransformation]


class LocalState(NamedTuple):
    """Where a worker stands between two outer steps.

    Attributes:
      anchor: a, the parameters that the outer optimizer steps; the same for all workers.
      inner: the inner optimizer's state, the worker's own.
      outer: the outer optimizer's, the same for all.
      step: local steps so far; while gradients are still averaged, minus the steps until they no more are.
      key: the words of the key that the coins are drawn from.
    """

    anchor: PyTree
    inner: PyTree
    outer: PyTree
    step: Int[Array, ""]
    key: UInt32[Array, "words"]

    common = ("anchor", "outer", "step", "key")

    def evaluation_params(self, params: PyTree) -> PyTree:
        """The anchor; before the first local step, `params`."""
        return jax.tree.map(lambda a, x: jnp.where(self.step < 0, x, a), self.anchor, params)


def local_steps(
    inner: Inner,
    outer: optax.GradientTransformation,
    *,
    every: ArrayLike,
    learning_rate: optax.ScalarOrSchedule | None = None,
    start: ArrayLike = 0,
    mix_probability: ArrayLike = 0.0,
    mix: optax.ScalarOrSchedule = 0.0,
    axis_name: AxisName | None = None,
    workers: int | None = None,
    key: ArrayLike | PRNGKeyArray = 0,
) -> optax.GradientTransformationExtraArgs:
    """H steps of each worker by its own gradients, then an outer step by what they moved on average.

    With parameters x_k of worker k, gradient g_k and an anchor a, which begins as x, a step is

        x_k ← x_k - (m/p)(x_k - a) with probability p, else x_k ← x_k + inner(g_k)/(1 - p),

    for each worker by a coin of its own, and after every H of them follows the outer step,

        a ← a + outer(Δ),  Δ = mean_k (a - x_k),  x_k ← a.

    Of an inner SGD with the rate α and m = αη the mean over the coin is x - α(g + η(x - a)). A mix looks at
    no gradient and leaves the inner state alone: a worker uses (1 - p)H gradients a round, and one that was
    handed in with a mix is lost. For the first `start` steps, gradients are averaged before the inner step
    instead.

    Workers are an axis by name: of a mesh inside `shard_map`, where they communicate at the boundaries alone,
    or of `jax.vmap`, see `on_workers`. Inner states are never averaged. Without an axis there is one worker.
    Begin from parameters that are the same for all, and evaluate `evaluation_params`, the anchor.

    Sources: Local SGD (arXiv:1805.09767), post-local SGD (1808.07217), DiLoCo (2311.08105), PALSGD
    (2504.18454), SNOO (2510.15830), Lookahead (1907.08610).

    Args:
      inner: what each worker steps by; or, with `learning_rate`, schedule → transformation, such as
        `optax.adam`.
      outer: what the anchor steps by, as if Δ was its gradient; its schedules count boundaries.
      every: H, steps from one boundary to the next, the first of them included.
      learning_rate: of `inner`, by steps of this transformation, those that mix included, so that a table of
        rates ends where training does. None where `inner` counts for itself, the updates that it makes.
      start: steps before the first local one.
      mix_probability: p in [0, 1).
      mix: m in [0, p], by steps too; beyond p a mix would overshoot the anchor.
      axis_name: of the workers.
      workers: how many they are, to be checked.
      key: a seed or a key of the coins, which also depend on the step and the worker.

    Raises:
      ValueError: an option is outside what it may be; or, in an update, the axis has another number of
        workers, or there are no params.
    """
    if hasattr(inner, "update") != (learning_rate is None):
        raise ValueError("inner must be a transformation, or with learning_rate a function of a schedule")
    check_number("every", every, 1)
    check_number("start", start, 0)
    check_number("mix_probability", mix_probability, 0, 1)
    _check_mix(mix, mix_probability)
    steps = _LocalSteps(
        inner, outer, every, learning_rate, start, mix_probability, mix, axis_name, workers, key
    )
    return optax.GradientTransformationExtraArgs(steps.init, steps.update)


class _LocalSteps(NamedTuple):
    """The options of `local_steps`, and what they do."""

    inner: Inner
    outer: optax.GradientTransformation
    every: ArrayLike
    learning_rate: optax.ScalarOrSchedule | None
    start: ArrayLike
    mix_probability: ArrayLike
    mix: optax.ScalarOrSchedule
    axis_name: AxisName | None
    workers: int | None
    key: ArrayLike | PRNGKeyArray

    def init(self, params: PyTree) -> LocalState:
        step = jnp.asarray(-self.start, jnp.int32)
        anchor = jax.tree.map(jnp.array, params)  # a copy: the state may be donated
        inner = own(self._inner_optimizer(step).init(params), self.axis_name)
        return LocalState(anchor, inner, self.outer.init(params), step, _key_words(self.key))

    def update(
        self, gradient: PyTree, state: LocalState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, LocalState]:
        check_axis(self.axis_name, self.workers)
        if params is None:
            raise ValueError("params are needed for local steps: call update(updates, state, params)")
        gradient = self._averaged_before_start(gradient, state)
        updates, inner = self._inner_optimizer(state.step).update(gradient, state.inner, params, **extra)
        if not is_zero(self.mix_probability):
            updates, inner = self._mixed(updates, inner, state, params)
        state = state._replace(inner=inner, step=optax.safe_increment(state.step))
        due = (state.step >= 0) & (state.step % self.every == 0)
        anchor, outer = jax.lax.cond(
            due, self._stepped_anchor, lambda *_: (state.anchor, state.outer), updates, state, params
        )
        # outside of the branches, which would copy the updates at every step
        updates = jax.tree.map(lambda u, a, x: jnp.where(due, a - x, u), updates, anchor, params)
        return updates, state._replace(anchor=anchor, outer=outer)

    def _averaged_before_start(self, gradient: PyTree, state: LocalState) -> PyTree:
        if is_zero(self.start) or self.axis_name is None:
            return gradient
        average = lambda g: own(mean_over(g, self.axis_name), self.axis_name)  # noqa: E731
        return jax.lax.cond(state.step < 0, average, lambda g: g, gradient)

    def _mixed(
        self, updates: PyTree, inner: PyTree, state: LocalState, params: PyTree
    ) -> tuple[PyTree, PyTree]:
        """The update and the inner state by the worker's coin."""
        p, is_local = self.mix_probability, state.step >= 0
        mixes = is_local & self._coin(state)
        pull = at_step(self.mix, state.step + self.start) / p
        scale = jnp.where(is_local, 1 / (1 - p), 1)

        def update(u, x, a):
            return jnp.where(mixes, -pull * (x - a), scale * u).astype(u.dtype)

        updates = jax.tree.map(update, updates, params, state.anchor)
        return updates, jax.tree.map(lambda new, old: jnp.where(mixes, old, new), inner, state.inner)

    def _coin(self, state: LocalState) -> Bool[Array, ""]:
        worker = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name)
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        return jax.random.uniform(jax.random.fold_in(key, worker)) < self.mix_probability

    def _stepped_anchor(self, updates: PyTree, state: LocalState, params: PyTree) -> tuple[PyTree, PyTree]:
        """The anchor after an outer step, to which all workers come, and the outer state.

        Before the first local step the anchor only comes to where all workers are.
        """
        movement = jax.tree.map(lambda a, x, u: a - (x + u), state.anchor, params, updates)
        delta = mean_over(movement, self.axis_name)
        outer_updates, outer = self.outer.update(delta, state.outer, state.anchor)
        follows_local_steps = state.step > 0
        outer_updates, outer = jax.tree.map(
            lambda new, old: jnp.where(follows_local_steps, new, old),
            (outer_updates, outer),
            (jax.tree.map(jnp.negative, delta), state.outer),
        )
        return optax.apply_updates(state.anchor, outer_updates), outer

    def _inner_optimizer(self, step: Int[Array, ""]) -> optax.GradientTransformationExtraArgs:
        if self.learning_rate is None:
            return optax.with_extra_args_support(self.inner)
        rate = at_step(self.learning_rate, step + self.start)
        return optax.with_extra_args_support(self.inner(lambda _: rate))


def _key_words(key: ArrayLike | PRNGKeyArray) -> UInt32[Array, "words"]:
    is_key = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(key if is_key else jax.random.key(key))


def _check_mix(mix: optax.ScalarOrSchedule, probability: ArrayLike) -> None:
    if any(isinstance(value, jax.core.Tracer) for value in (mix, probability)):
        return
    if callable(mix) and not is_zero(probability):
        return
    if callable(mix) or not np.all((np.asarray(mix) >= 0) & (np.asarray(mix) <= np.asarray(probability))):
        raise ValueError(f"mix must be in [0, {probability}], up to mix_probability, got {mix}")
