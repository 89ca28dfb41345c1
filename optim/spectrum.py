"""Singular values of what a chain orthogonalises, recorded while training."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from geometry import PolarMethod, polar_method
from geometry.decompositions import by_matrix
from geometry.matrices import leaves_by_path
from geometry.precision import unit_peak, widened
from optim.options import check_number
from optim.routing import BY_NAME, Routing
from optim.sharding import call_in_auto_mode
from optim.state import beside_params

SUFFICIENT = 0.5  # of 1, which every singular value of a polar factor is

Spectra = dict[str, tuple[Float[Array, "matrices side"], ...]]


class SpectrumState(NamedTuple):
    """Updates so far; and of the last measurement, by the path of every leaf, with an entry for each block:

    Attributes:
      count: updates.
      singular_values: of each matrix over the largest, in falling order; zeros before the first measurement.
      reached: what the polar method makes of them.
    """

    count: Int[Array, ""]
    singular_values: Spectra
    reached: Spectra

    def insufficient(self) -> dict[str, Bool[Array, ""]]:
        """Whether the method's steps left a singular value above rounding below SUFFICIENT, leaf by leaf."""
        flags = jax.tree.map(_leaves_behind, self.singular_values, self.reached)
        return {path: jnp.any(jnp.stack(blocks)) for path, blocks in flags.items()}


def record_spectrum(
    every: int, polar: str | PolarMethod = "polar_express", *, routing: Routing = BY_NAME
) -> optax.GradientTransformation:
    """Keep the singular values of the updates in the state, and pass the updates on as they are.

    Put it before `scale_by_polar`, of the same method, to see what of the momentum's spectrum its steps bring
    to 1; `SpectrumState.insufficient` flags leaves where a direction is left behind. A probe of
    `workloads.train` reads the state along a run.

    Args:
      every: steps from one measurement to the next, from step 0 on; nothing is computed in between.
      polar: the method that is asked what it reaches; see `scale_by_polar`.
      routing: how leaves are seen as matrices.

    Raises:
      ValueError: an option is outside what it may be; or, at init, a leaf has no matrix view.
    """
    check_number("every", every, 1)
    method = polar_method(polar)

    def measured(tree: PyTree) -> tuple[Spectra, Spectra]:
        values = {path: tuple(map(_spectrum, blocks)) for path, blocks in _blocks(tree, routing).items()}
        return values, jax.tree.map(reached, values)

    def reached(values):
        diagonal = jax.vmap(jnp.diag)(values)
        return jnp.diagonal(method.factor(diagonal), axis1=-2, axis2=-1)

    def init(params):
        parts = (beside_params(_zeros(params, routing), params) for _ in ("singular_values", "reached"))
        return SpectrumState(jnp.zeros([], jnp.int32), *parts)

    def update(updates, state, params=None):
        last = (state.singular_values, state.reached)
        latest = jax.lax.cond(
            state.count % every == 0, lambda: call_in_auto_mode(measured, updates, like=last), lambda: last
        )
        return updates, SpectrumState(optax.safe_increment(state.count), *latest)

    return optax.GradientTransformation(init, update)


def _zeros(params: PyTree, routing: Routing) -> Spectra:
    leaves = leaves_by_path(params)
    return {
        path: tuple(
            jnp.zeros((matrices, min(sides)), jnp.promote_types(leaves[path].dtype, jnp.float32))
            for matrices, *sides in view.matrix_shapes(leaves[path].shape)
        )
        for path, view in routing.views(params).items()
    }


def _blocks(tree: PyTree, routing: Routing) -> dict[str, list[Array]]:
    leaves = leaves_by_path(tree)
    return {path: view.split(jnp.asarray(leaves[path])) for path, view in routing.views(tree).items()}


def _spectrum(stack: Float[Array, "matrices rows columns"]) -> Float[Array, "matrices side"]:
    """Over the largest, zeros for zeros."""
    scaled, _ = unit_peak(widened(stack), axis=(-2, -1))
    values = by_matrix(jnp.linalg.svdvals, scaled)
    return values / jnp.where(values[:, :1] > 0, values[:, :1], 1)


def _leaves_behind(
    given: Float[Array, "matrices side"], reached: Float[Array, "matrices side"]
) -> Bool[Array, ""]:
    rounding = given.shape[-1] * jnp.finfo(given.dtype).eps
    return jnp.any((given > rounding) & (reached < SUFFICIENT))
