"""Shards of the training examples, one for each of several workers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from workloads.workload import Workload, epoch_indices


def even_shards(key: PRNGKeyArray, num_examples: int, workers: int) -> Int[Array, "workers shard"]:
    """A random share of the examples for each worker, all of a size; what is left over belongs to none."""
    return _split(jax.random.permutation(key, num_examples), workers)


def skewed_shards(labels: Int[Array, "examples"], workers: int) -> Int[Array, "workers shard"]:
    """The examples in the order of their labels, cut in equal shares: each worker sees few of the labels."""
    return _split(jnp.argsort(labels), workers)


def sharded(workload: Workload, shards: Int[Array, "workers shard"]) -> Workload:
    """The workload whose every batch has as many equal parts as there are workers, each of its own shard.

    A worker goes through a fresh shuffle of its shard each epoch, by draws of its own. The shards may be
    traced, so that one program serves all of a size.

    Raises ValueError, where indices are drawn, when a worker's part of a batch is larger than its shard.
    """
    workers, num_examples = shards.shape

    def indices(key, batch_size, num_steps):
        def drawn(worker_key, shard):
            return shard[epoch_indices(worker_key, num_examples, batch_size // workers, num_steps)]

        by_worker = jax.vmap(drawn)(jax.random.split(key, workers), shards)
        return jnp.swapaxes(by_worker, 0, 1).reshape(num_steps, batch_size)

    return workload._replace(indices=indices)


def _split(order: Int[Array, "examples"], workers: int) -> Int[Array, "workers shard"]:
    size = len(order) // workers
    return order[: workers * size].reshape(workers, size)
