"""The contract between what is trained and how: a workload is data and the pure functions over it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


def no_attention(params: PyTree, batch: PyTree) -> PyTree:
    """The largest attention logits of a model without attention."""
    return {}


class Workload(NamedTuple):
    """Something to train.

    `data` is an argument of the functions and never closed over: closed-over arrays are compiled into the
    program.

    Attributes:
      data: a pytree of arrays.
      init: key → params.
      indices: (key, batch_size, num_steps) → Int[steps, batch], which examples each step sees.
      batch: (data, indices) → the batch that one row of `indices` names.
      loss: (params, batch, key) → the scalar to descend on; the key is for dropout and the like.
      evaluate: (params, data) → metrics by name, such as "train_loss" and "test_error": each a scalar, or
        an array of several conditions.
      max_logits: (params, batch) → a tree that has beside the layers of each attention, named as those of the
        parameters, an array of its heads' largest logits, none dropped; computed for updates that ask alone.
    """

    data: PyTree
    init: Callable[[PRNGKeyArray], PyTree]
    indices: Callable[[PRNGKeyArray, int, int], Int[Array, "steps batch"]]
    batch: Callable[[PyTree, Int[Array, "batch"]], PyTree]
    loss: Callable[[PyTree, PyTree, PRNGKeyArray], Float[Array, ""]]
    evaluate: Callable[[PyTree, PyTree], dict[str, Float[Array, "..."]]]
    max_logits: Callable[[PyTree, PyTree], PyTree] = no_attention


def metric_names(workload: Workload) -> tuple[str, ...]:
    """The names that `workload.evaluate` returns, found without computing or compiling anything."""
    params = jax.eval_shape(workload.init, jax.eval_shape(jax.random.key, 0))
    return tuple(jax.eval_shape(workload.evaluate, params, workload.data))


def epoch_indices(
    key: PRNGKeyArray, num_examples: int, batch_size: int, num_steps: int
) -> Int[Array, "steps batch"]:
    """Batches that go through a fresh shuffle of all examples each epoch; the last partial batch is skipped.

    Raises ValueError when a batch is larger than the data set.
    """
    _check_batch_size(batch_size, num_examples)
    steps_per_epoch = num_examples // batch_size
    num_epochs = -(-num_steps // steps_per_epoch)
    shuffles = jax.vmap(lambda epoch_key: _shuffle(epoch_key, num_examples))
    epochs = shuffles(jax.random.split(key, num_epochs))[:, : steps_per_epoch * batch_size]
    return epochs.reshape(num_epochs * steps_per_epoch, batch_size)[:num_steps]


def subset_indices(
    key: PRNGKeyArray, num_examples: int, batch_size: int, num_steps: int
) -> Int[Array, "steps batch"]:
    """Every step an independent, uniform subset of the examples, without replacement inside a batch.

    Draw i is a uniform rank among the examples not chosen yet; O(batch²) work a step and no sort, for
    batches of up to some hundreds. Raises ValueError when a batch is larger than the data set.
    """
    _check_batch_size(batch_size, num_examples)
    position = jnp.arange(batch_size)
    ranks = jax.random.randint(key, (num_steps, batch_size), 0, num_examples - position[None, :])

    def choose(chosen, rank):
        # chosen[j] - j examples below chosen[j] are free, so this many chosen ones lie below the draw
        index = rank + jnp.sum(chosen - position <= rank)
        previous = jnp.concatenate([jnp.full(1, -1), chosen[:-1]])
        return jnp.minimum(chosen, jnp.maximum(previous, index)), index

    def subset(step_ranks):
        unfilled = jnp.full(batch_size, 2 * num_examples)
        return jax.lax.scan(choose, unfilled, step_ranks, unroll=min(batch_size, 8))[1]

    return jax.vmap(subset)(ranks)


def _shuffle(key: PRNGKeyArray, num_examples: int) -> Int[Array, "examples"]:
    """A uniform permutation.

    Sorts random words that carry the place in their low bits: on a CPU, sorting one array takes a quarter of
    the time of sorting pairs. What the bits of a round leave tied keeps the order of the round before; the
    rounds are as many as leave at most eight pairs of examples tied in all of them, on average. The places
    of the first round are masked at random, so that the order of such a pair is a fair coin too.
    """
    index_bits = (num_examples - 1).bit_length()
    rounds = max(1, -(-(2 * index_bits - 4) // (32 - index_bits)))
    words, mask = jnp.split(jax.random.bits(key, (rounds * num_examples + 1,)), [rounds * num_examples])
    low_bits = jnp.uint32(2**index_bits - 1)
    first, *others = words.reshape(rounds, num_examples) << index_bits
    place, mask = jnp.arange(num_examples, dtype=jnp.uint32), mask & low_bits
    order = jnp.sort(first | place ^ mask) & low_bits ^ mask
    for word in others:
        order = order[jnp.sort(word | place) & low_bits]
    return order.astype(jnp.int32)


def _check_batch_size(batch_size: int, num_examples: int) -> None:
    if not 1 <= batch_size <= num_examples:
        raise ValueError(f"batch_size must be in [1, {num_examples}], the data's size, got {batch_size}")
