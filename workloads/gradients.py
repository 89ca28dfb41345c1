"""The gradients of a batch, and its attention logits: of its parts, and of micro-batches in turn."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from workloads.mesh import split_over_data
from workloads.workload import Workload

# (params, data, the batch's examples, key) → the batch's loss, and its parts' gradients on a leading axis
PartGradients = Callable[[PyTree, PyTree, Int[Array, "batch"], PRNGKeyArray], tuple[Float[Array, ""], PyTree]]
# params → the gradient of the batch there; (params, part) → that of a part
GradientFunction = Callable[..., PyTree]
# (params, data, the batch's examples) → what computes the batch's largest attention logits there
MaxLogits = Callable[[PyTree, PyTree, Int[Array, "batch"]], Callable[[], PyTree]]


def part_gradients(workload: Workload, parts: int, microbatches: int) -> PartGradients:
    """The gradients of a batch's equal parts, each accumulated over its micro-batches.

    Only a micro-batch of each part is in memory at a time. Where the mesh in scope has an axis "data", its
    devices share every micro-batch.
    """
    gradients = _accumulated(workload, microbatches)

    def whole(params, data, indices, key):
        loss, gradient = gradients(params, data, indices, key)
        return loss, jax.tree.map(lambda leaf: leaf[None], gradient)

    def split(params, data, indices, key):
        of_each = jax.vmap(gradients, in_axes=(None, None, 0, 0))
        losses, stacked = of_each(params, data, indices.reshape(parts, -1), jax.random.split(key, parts))
        return jnp.mean(losses), stacked

    return whole if parts == 1 else split


def gradient_functions(
    workload: Workload, parts: int, microbatches: int
) -> Callable[[PyTree, Int[Array, "batch"], PRNGKeyArray], GradientFunction]:
    """(data, the batch's examples, key) → what takes the gradient of that batch, with that key, anywhere."""
    of_parts, of_part = part_gradients(workload, parts, microbatches), _accumulated(workload, microbatches)

    def of_batch(data, indices, key):
        def gradient(params, part=None):
            if part is None:
                return mean_of_parts(of_parts(params, data, indices, key)[1])
            share = indices.reshape(parts, -1)[part], jax.random.split(key, parts)[part]
            return of_part(params, data, *share)[1]

        return gradient

    return of_batch


def max_logits_functions(workload: Workload, microbatches: int) -> MaxLogits:
    """Those of `workload.max_logits`, of the micro-batches one after the other."""

    def of_batch(params, data, indices):
        def of_examples(indices):
            return workload.max_logits(params, workload.batch(data, split_over_data(indices, axis=0)))

        def largest():
            of_each = jax.lax.map(of_examples, indices.reshape(microbatches, -1))
            return jax.tree.map(lambda stack: jnp.max(stack, axis=0), of_each)

        return largest

    return of_batch


def mean_of_parts(gradients: PyTree) -> PyTree:
    """That over the leading axis of every leaf."""
    # a chain of sums is one fused loop; on a CPU, XLA's mean over a leading axis is thirty times slower
    return jax.tree.map(lambda stack: sum(jnp.unstack(stack)) / len(stack), gradients)


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


def _accumulated(workload: Workload, microbatches: int) -> Callable[..., tuple[Float[Array, ""], PyTree]]:
    """(params, data, examples, key) → the loss of the examples and its gradient, over equal micro-batches."""

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

    return of_examples if microbatches == 1 else of_part
