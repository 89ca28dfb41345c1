"""The gradients of a batch: of its parts, and of micro-batches one after the other."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from workloads.mesh import split_over_data
from workloads.workload import Workload

# (params, data, the batch's examples, key) → the batch's loss, and its parts' gradients on a leading axis
PartGradients = Callable[[PyTree, PyTree, Int[Array, "batch"], PRNGKeyArray], tuple[Float[Array, ""], PyTree]]


def part_gradients(workload: Workload, parts: int, microbatches: int) -> PartGradients:
    """The gradients of a batch's equal parts, each accumulated over its micro-batches.

    Only a micro-batch of each part is in memory at a time. Where the mesh in scope has an axis "data", its
    devices share every micro-batch.
    """

    def of_examples(params, data, indices, key):
        batch = workload.batch(data, split_over_data(indices, axis=0))
        return jax.value_and_grad(workload.loss)(params, batch, key)

    def of_part(params, data, indices, key):
        def add(total, examples):
            return jax.tree.map(jnp.add, total, of_examples(params, data, *examples)), None

        examples = indices.reshape(microbatches, -1), jax.random.split(key, microbatches)
        first = jax.tree.map(lambda leaf: leaf[0], examples)
        shapes = jax.eval_shape(of_examples, params, data, *first)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, examples)
        return jax.tree.map(lambda leaf: leaf / microbatches, total)

    gradients = of_examples if microbatches == 1 else of_part

    def whole(params, data, indices, key):
        loss, gradient = gradients(params, data, indices, key)
        return loss, jax.tree.map(lambda leaf: leaf[None], gradient)

    def split(params, data, indices, key):
        of_each = jax.vmap(gradients, in_axes=(None, None, 0, 0))
        losses, stacked = of_each(params, data, indices.reshape(parts, -1), jax.random.split(key, parts))
        return jnp.mean(losses), stacked

    return whole if parts == 1 else split


def worker_gradients(gradients: PartGradients, workers: int) -> PartGradients:
    """Those of a stack of parameters: each worker's, of its equal part of the batch, on the second axis.

    The loss is the mean of the workers'.
    """
    of_each = jax.vmap(gradients, in_axes=(0, None, 0, 0), out_axes=(0, 1))

    def of_stack(params, data, indices, key):
        shares = indices.reshape(workers, -1), jax.random.split(key, workers)
        losses, stacked = of_each(params, data, *shares)
        return jnp.mean(losses), stacked

    return of_stack
