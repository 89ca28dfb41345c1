"""What is measured before training, of the gradient and the activations of the first batches."""

from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from geometry import MatrixView, curvature_index, hessian_product, nuclear_rank, stable_rank
from geometry.matrices import leaves_by_path
from optim import by_name
from workloads import Workload
from workloads.layers import captured_inputs

NUCLEAR, SHARE, STABLE, RATIO, CURVATURE = (
    *("nuclear_rank", "nuclear_share", "stable_rank", "nuclear_over_stable", "curvature_index"),
)
PREDICTORS: Mapping[str, str] = MappingProxyType(  # each with what it is
    {
        NUCLEAR: "ln ‖G‖_*²/‖G‖_F², the gradient's nuclear rank",
        SHARE: "the same over the largest that there may be",
        STABLE: "ln ‖A‖_F²/‖A‖_op², the activations' stable rank",
        RATIO: "nuclear over stable rank",
        CURVATURE: "ln of what a spectral step gains over a sign step, curvature measured",
    }
)


def hidden_matrix(path: str, shape: tuple[int, ...]) -> MatrixView | None:
    """The view of a hidden matrix by name, None of all else."""
    route = by_name(path, shape)
    return route.view if route.kind == "hidden" else None


def predictors(
    workload: Workload,
    batches: Int[Array, "batches examples"],
    init_key: PRNGKeyArray,
    loss_key: PRNGKeyArray,
) -> dict[str, Float[Array, ""]]:
    """Every predictor, the mean over the hidden matrices of its logarithm, at the initial weights.

    Args:
      workload: whose `data` is that of the run.
      batches: the examples that the run sees first; the gradient is their mean.
      init_key: draws the weights.
      loss_key: for the loss.
    """
    params = workload.init(init_key)
    batch = workload.batch(workload.data, batches.ravel())

    def loss(weights):
        return workload.loss(weights, batch, loss_key)

    gradient = jax.grad(loss)(params)
    indices = curvature_index(gradient, hessian_product(loss, params), hidden_matrix)
    inputs, leaves = captured_inputs(loss, params), leaves_by_path(gradient)
    nuclear = _mean_log([nuclear_rank(leaves[path]) for path in indices])
    largest = _mean_log([jnp.asarray(min(leaves[path].shape), float) for path in indices])
    stable = _mean_log([stable_rank(inputs[path]) for path in indices])
    return {
        NUCLEAR: nuclear,
        SHARE: nuclear - largest,
        STABLE: stable,
        RATIO: nuclear - stable,
        CURVATURE: jnp.mean(jnp.stack(list(indices.values()))),
    }


def _mean_log(values: list[Float[Array, ""]]) -> Float[Array, ""]:
    return jnp.mean(jnp.log(jnp.stack(values)))
