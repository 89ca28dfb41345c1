"""What the options of a training run must be."""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, ScalarLike

from workloads.hooks import Hooks
from workloads.mesh import data_shards


def check_rates(learning_rates: Array) -> None:
    if learning_rates.ndim not in (1, 2):
        raise ValueError(
            f"learning_rates must be of the shape (steps,) or (groups, steps), got {learning_rates.shape}"
        )


def check_steps(num_steps: int, evaluate_at: tuple[int, ...], probe_every: int) -> None:
    if num_steps < 1:
        raise ValueError("learning_rates must hold at least one step")
    ascending = all(a < b for a, b in itertools.pairwise(evaluate_at))
    if not (evaluate_at and ascending and evaluate_at[0] >= 0 and evaluate_at[-1] <= num_steps):
        raise ValueError(f"evaluate_at must ascend strictly within [0, {num_steps}], got {evaluate_at}")
    if probe_every < 1:
        raise ValueError(f"probe_every must be at least 1, got {probe_every}")


def check_pieces(batch_size: int, parts: int, microbatches: int) -> None:
    if parts < 1 or batch_size % parts:
        raise ValueError(f"parts must be a positive divisor of batch_size={batch_size}, got {parts}")
    examples = batch_size // parts
    if microbatches < 1 or examples % microbatches:
        raise ValueError(
            f"microbatches must be a positive divisor of the {examples} examples of a part,"
            f" got {microbatches}"
        )
    if examples // microbatches % data_shards():
        raise ValueError(
            f"batch_size must give each of the {data_shards()} devices that share a batch the same number of"
            f" examples, got {examples // microbatches} computed together"
        )


def check_workers(batch_size: int, workers: int | None, hooks: Hooks | None) -> None:
    if workers is None:
        return
    if workers < 1 or batch_size % workers:
        raise ValueError(f"workers must be a positive divisor of batch_size={batch_size}, got {workers}")
    if hooks is None:
        raise ValueError("hooks must be given with workers, such as optim")


def check_average_decay(decay: ScalarLike | None) -> None:
    if decay is not None and not isinstance(decay, jax.core.Tracer) and not 0 <= float(decay) < 1:
        raise ValueError(f"average_decay must be in [0, 1), got {decay}")


def check_evaluated(hooks: Hooks, state: PyTree, params: PyTree) -> None:
    if hooks.evaluation_params(state, params) is not params:
        raise ValueError("average_decay must be None where the optimizer's state says what is evaluated")


def check_drawn(drawn: PyTree, params: PyTree) -> None:
    if jax.tree.map(jnp.shape, drawn) != jax.tree.map(jnp.shape, params):
        raise ValueError("hooks must draw parameters of the same shapes: of ivon, one sample a step")
