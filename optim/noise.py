"""Gradient noise in an optimizer chain: a transformation that records it, and an index made of it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Int, PyTree

from geometry import (
    EUCLIDEAN,
    SIGN,
    SPECTRAL,
    Geometry,
    Moments,
    NoiseAverage,
    isotropic_log_smoothness,
    spec_sign_index,
)
from geometry.matrices import leaves_by_path
from geometry.noise import NOISE_GEOMETRIES
from optim.options import check_number
from optim.routing import BY_NAME, Routing
from optim.sharding import call_in_auto_mode


class NoiseState(NamedTuple):
    """Steps so far, and the running average of the noise scale by the name of its geometry."""

    count: Int[Array, ""]
    average: dict[str, NoiseAverage]


def record_noise(
    batch_size: int,
    geometries: tuple[Geometry, ...] = (EUCLIDEAN, SIGN, SPECTRAL),
    *,
    every: int = 1,
    noise_decay: ArrayLike = 0.9,
    signal_decay: ArrayLike = 0.9,
    axis_name: str | tuple[str, ...] | None = None,
    routing: Routing = BY_NAME,
) -> optax.GradientTransformationExtraArgs:
    """Keep the gradient's noise scales in the state and pass the updates on as they are.

    `update` needs `part_gradients`, the gradients of equal parts of the batch stacked on a leading axis, as
    `workloads.train` hands them over. Inside `shard_map` over ranks that hold different examples, name their
    axis; each rank's parts may then be one, and without `part_gradients` the updates themselves are that
    part, so this must come before whatever averages them. Put it first in the chain: noise is measured before
    any clipping.

    Args:
      batch_size: the examples in all parts of all ranks together.
      geometries: what to measure.
      every: steps from one measurement to the next, from step 0 on; nothing is computed in between.
      noise_decay: β of the running average of noise².
      signal_decay: β of that of signal².
      axis_name: the mesh axes of data-parallel ranks.
      routing: how leaves are seen as matrices; those that are none count by their sign terms.

    Raises:
      ValueError: an option is outside what it may be; or, in an update, there are fewer than two parts.
    """
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2, got {batch_size}")
    if not geometries or not set(geometries) <= set(NOISE_GEOMETRIES):
        known = ", ".join(geometry.name for geometry in NOISE_GEOMETRIES)
        raise ValueError(f"geometries must be some of {known}, got {geometries}")
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    check_number("noise_decay", noise_decay, 0, 1)
    check_number("signal_decay", signal_decay, 0, 1)

    def measured(average, parts):
        moments = Moments.of(parts, routing.optional_view if SPECTRAL in geometries else None)
        moments = moments if axis_name is None else moments.across(axis_name)
        return {
            geometry.name: average[geometry.name].add(
                moments.estimate(batch_size, geometry), noise_decay, signal_decay
            )
            for geometry in geometries
        }

    def init(params):
        averages = {geometry.name: NoiseAverage.init() for geometry in geometries}
        return NoiseState(jnp.zeros([], jnp.int32), averages)

    def update(updates, state, params=None, *, part_gradients=None, **extra):
        if part_gradients is None:
            part_gradients = jax.tree.map(lambda g: g[None], updates)
        average = jax.lax.cond(
            state.count % every == 0,
            lambda: call_in_auto_mode(measured, state.average, part_gradients, like=state.average),
            lambda: state.average,
        )
        return updates, NoiseState(optax.safe_increment(state.count), average)

    return optax.GradientTransformationExtraArgs(init, update)


@dataclass(frozen=True)
class NoiseIndex:
    """The spec–sign index of every leaf, measured from part gradients: an `index` for `Choice`.

    `update` of the optimizer then needs `part_gradients`, the gradients of equal parts of the batch stacked
    on a leading axis, as `workloads.train` hands them over. See `geometry.spec_sign_index`.

    Attributes:
      batch_size: the examples in all parts together.
      tau: 1 for a gain in expectation, 2 for one that holds for every gradient.
      log_smoothness_ratio: log(L_∞ / L_op), how much more the loss bends under the sign norm; that of
        `geometry.isotropic_log_smoothness` for each leaf when None.
      routing: how leaves are seen as matrices.
    """

    batch_size: int
    tau: float | int = 1
    log_smoothness_ratio: float | int | None = None
    routing: Routing = BY_NAME

    def __post_init__(self):
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, got {self.batch_size}")
        check_number("tau", self.tau, 0)

    def __call__(self, gradients: PyTree, *, part_gradients: PyTree, **extra: Any) -> dict[str, Array]:
        """log 𝓡 by path of every leaf in `gradients`, which must be matrices."""
        parts = leaves_by_path(part_gradients)
        chosen = {path: parts[path] for path in leaves_by_path(gradients)}
        return call_in_auto_mode(self._measured, chosen, like=dict.fromkeys(chosen, jnp.zeros([])))

    def _measured(self, parts: dict[str, Array]) -> dict[str, Array]:
        moments = Moments.of(parts, self.routing.optional_view)
        spectral, sign = (moments.estimate_leaves(self.batch_size, geometry) for geometry in (SPECTRAL, SIGN))
        return {
            path: spec_sign_index(
                spectral[path],
                sign[path],
                self.batch_size,
                tau=self.tau,
                log_smoothness_ratio=self._log_smoothness(path, leaf.shape[1:]),
            )
            for path, leaf in parts.items()
        }

    def _log_smoothness(self, path: str, shape: tuple[int, ...]) -> float | int:
        if self.log_smoothness_ratio is not None:
            return self.log_smoothness_ratio
        return isotropic_log_smoothness(self.routing.view(path, shape), shape)
