"""One training run against a plain Python loop, and its options."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import Workload, epoch_indices, load, run_keys, train

KEYS = run_keys(jax.random.key(8))
BATCH, STEPS = 8, 7
# a table without repetitions: a rate used at the wrong step shows
RATES = jnp.asarray(np.float32([3e-2, 1e-2, 4e-2, 2e-2, 5e-2, 6e-3, 2.5e-2]))


class Points(NamedTuple):
    inputs: jax.Array
    targets: jax.Array


def tiny_network():
    """Two layers on 20 points: everything `train` does, compiled in a moment."""

    def error(params, inputs, targets):
        return jnp.mean((jnp.tanh(inputs @ params["first"]) @ params["last"] - targets) ** 2)

    points = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    return Workload(
        data=Points(jnp.asarray(points), jnp.asarray(points[:, 0] * points[:, 1])),
        init=lambda key: {"first": jax.random.normal(key, (4, 5)), "last": jnp.linspace(-1.0, 1.0, 5)},
        indices=lambda key, batch_size, num_steps: epoch_indices(key, 20, batch_size, num_steps),
        batch=lambda data, indices: Points(data.inputs[indices], data.targets[indices]),
        loss=lambda params, batch, key: error(params, *batch),
        evaluate=lambda params, data: {
            "train_loss": error(params, *data),
            "norm": jnp.sum(params["last"] ** 2),
        },
    )


TINY = tiny_network()
evaluated = jax.jit(TINY.evaluate)


def batches_of(workload, batch_size, num_steps):
    rows, batch = jax.jit(workload.indices, static_argnums=(1, 2)), jax.jit(workload.batch)
    for indices in np.asarray(rows(KEYS.data, batch_size, num_steps)):
        yield batch(workload.data, indices)


def python_loop(workload, optimizer, learning_rates, batch_size):
    """Params before every step and after the last; optimizer updates jitted one by one."""
    transformation = optimizer(lambda count: learning_rates[count])
    params = jax.jit(workload.init)(KEYS.init)
    state = transformation.init(params)

    @jax.jit
    def step(params, state, batch):
        gradient = jax.grad(workload.loss)(params, batch, KEYS.loss)
        updates, state = transformation.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    visited = [params]
    for batch in batches_of(workload, batch_size, learning_rates.shape[0]):
        params, state = step(params, state, batch)
        visited.append(params)
    return visited


@functools.cache
def tiny_loop(optimizer=optax.adam):
    return python_loop(TINY, optimizer, RATES, BATCH)


def train_tiny(learning_rates=RATES, optimizer=optax.adam, workload=TINY, **options):
    def run(data, learning_rates, keys):  # keys as arguments: the compiler would fold constant ones, slowly
        return train(workload, data, optimizer, learning_rates, keys, batch_size=BATCH, **options)

    return jax.jit(run)(TINY.data, learning_rates, KEYS)


def assert_close(computed, expected, rtol=1e-4, atol=2e-6):
    """Float32 round-off: loose relatively, since Adam divides by the root of a small gradient's square."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), computed, expected)


def stacked(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def observe(params, state, batch, part_gradients, key):
    """A probe that records everything it gets."""
    return {
        "params": params,
        "updates_so_far": optax.tree_utils.tree_get_all_with_path(state, "count")[0][1],
        "batch": batch,
        "part_gradients": part_gradients,
        "draw": jax.random.uniform(key),
    }


def test_training_the_digits_equals_a_python_loop():
    digits, rates = load("digits"), RATES / 10
    evaluated_steps = range(STEPS + 1)
    run = jax.jit(
        lambda data, keys: train(
            digits, data, optax.adam, rates, keys, batch_size=32, evaluate_at=evaluated_steps
        )
    )(digits.data, KEYS)
    visited = python_loop(digits, optax.adam, rates, 32)
    assert_close(run.params, visited[-1])
    evaluate = jax.jit(digits.evaluate)
    metrics = stacked([evaluate(params, digits.data) for params in visited])
    assert run.metrics.keys() == metrics.keys()
    # an error counts images: round-off flips none here
    assert_close(run.metrics, metrics)
    assert run.probes == {}


@pytest.mark.parametrize("optimizer", [optax.adam, optax.sgd])
def test_a_run_equals_a_python_loop(optimizer):
    run = train_tiny(optimizer=optimizer, evaluate_at=(0, 1, 4, STEPS))
    visited = tiny_loop(optimizer)
    assert_close(run.params, visited[-1])
    assert_close(run.metrics, stacked([evaluated(visited[t], TINY.data) for t in (0, 1, 4, STEPS)]))


def test_evaluations_along_the_way_equal_runs_cut_there():
    rates = jnp.full(STEPS, 2e-2)
    metrics = train_tiny(rates, evaluate_at=(0, 3, 6, STEPS)).metrics
    start = evaluated(jax.jit(TINY.init)(KEYS.init), TINY.data)
    cut = [stacked([start])] + [train_tiny(rates[:steps]).metrics for steps in (3, 6, STEPS)]
    assert_close(metrics, jax.tree.map(lambda *values: np.concatenate(values), *cut), rtol=1e-5)


def test_without_an_evaluation_at_the_end_the_run_still_finishes():
    run = train_tiny(evaluate_at=(2,))
    assert_close(run.params, tiny_loop()[-1])
    assert_close(run.metrics, stacked([evaluated(tiny_loop()[2], TINY.data)]))


def test_data_are_the_argument_and_only_the_end_is_evaluated_by_default():
    broken = TINY._replace(data=jax.tree.map(jnp.zeros_like, TINY.data))
    run = train_tiny(workload=broken)
    assert_close(run.params, tiny_loop()[-1])
    assert_close(run.metrics, stacked([evaluated(tiny_loop()[-1], TINY.data)]))


@pytest.mark.parametrize("parts", [2, 8])
def test_splitting_the_batch_does_not_change_the_updates(parts):
    # plain SGD: Adam would forgive a sum in place of the mean
    run, visited = (
        train_tiny(optimizer=optax.sgd, parts=parts, evaluate_at=(0, 2, STEPS)),
        tiny_loop(optax.sgd),
    )
    assert_close(run.params, visited[-1])
    assert_close(run.metrics, stacked([evaluated(visited[t], TINY.data) for t in (0, 2, STEPS)]))


@pytest.mark.parametrize("parts", [1, 4])
def test_a_probe_gets_the_gradients_of_the_sub_batches(parts):
    probes = train_tiny(parts=parts, probe=observe).probes
    gradient = jax.jit(jax.grad(TINY.loss))
    by_part, whole, batches = [], [], list(batches_of(TINY, BATCH, STEPS))
    for params, batch in zip(tiny_loop(), batches, strict=False):
        pieces = zip(np.split(batch.inputs, parts), np.split(batch.targets, parts), strict=True)
        by_part.append(stacked([gradient(params, Points(*piece), KEYS.loss) for piece in pieces]))
        whole.append(gradient(params, batch, KEYS.loss))
    jax.tree.map(np.testing.assert_array_equal, probes["batch"], stacked(batches))
    # the loop's params differ by round-off, which the gradients amplify a little
    assert_close(probes["part_gradients"], stacked(by_part), atol=2e-5)
    mean = jax.tree.map(lambda gradients: np.mean(gradients, axis=1), probes["part_gradients"])
    assert_close(mean, stacked(whole), atol=2e-5)


@pytest.mark.parametrize(("every", "steps"), [(1, range(7)), (3, (0, 3, 6)), (9, (0,))])
def test_a_probe_sees_every_kth_step_before_its_update(every, steps):
    run = train_tiny(probe=observe, probe_every=every)
    np.testing.assert_array_equal(run.probes["updates_so_far"], list(steps))
    assert_close(run.probes["params"], stacked([tiny_loop()[t] for t in steps]))
    assert len(set(run.probes["draw"].tolist())) == len(steps)  # a fresh key each time
    assert_close(run.params, tiny_loop()[-1])


def test_a_probe_is_not_computed_in_between_even_under_vmap():
    calls = []

    def probe(params, state, batch, part_gradients, key):
        jax.debug.callback(lambda norm: calls.append(float(norm)), optax.tree_utils.tree_norm(params))
        return {}

    def final(key):
        keys = KEYS._replace(init=key)
        return train(
            TINY, TINY.data, optax.sgd, RATES, keys, batch_size=BATCH, probe=probe, probe_every=3
        ).params

    jax.block_until_ready(jax.jit(jax.vmap(final))(jax.random.split(jax.random.key(0), 2)))
    jax.effects_barrier()
    assert len(calls) == 2 * 3  # steps 0, 3 and 6 of both runs


def test_the_loss_draws_afresh_each_step_and_part():
    noisy = TINY._replace(
        init=lambda key: jnp.zeros(()),
        loss=lambda params, batch, key: params * jax.random.normal(key),
        evaluate=lambda params, data: {"params": params},
    )

    def part_gradients(key):
        keys = run_keys(key)
        return train(
            noisy, TINY.data, optax.sgd, jnp.ones(50), keys, batch_size=4, parts=4, probe=observe
        ).probes["part_gradients"]

    draws = jax.jit(jax.vmap(part_gradients))(jax.random.split(jax.random.key(0), 2))
    draws = np.asarray(draws, np.float64)
    assert np.unique(draws).size == 2 * 50 * 4
    assert abs(np.mean(draws)) * np.sqrt(400) < 2.81  # N(0, 1): two z-tests, level 0.01 together
    assert abs(np.mean(draws**2) - 1) * np.sqrt(400 / 2) < 2.81


def test_the_keys_of_runs_are_distinct():
    keys = [*run_keys(jax.random.key(0)), *run_keys(jax.random.key(1))]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 2 * 5


@pytest.mark.parametrize(
    "option",
    [
        {"evaluate_at": ()},
        {"evaluate_at": (3, 2)},
        {"evaluate_at": (2, 2)},
        {"evaluate_at": (-1, 2)},
        {"evaluate_at": (0, STEPS + 1)},
        {"parts": 0},
        {"parts": 3},
        {"parts": 2 * BATCH},
        {"probe_every": 0},
    ],
)
def test_meaningless_options_are_refused_by_name(option):
    (name,) = option
    with pytest.raises(ValueError, match=f"{name} must"):
        train_tiny(**option)


def test_a_run_without_steps_is_refused():
    with pytest.raises(ValueError, match="at least one step"):
        train(TINY, TINY.data, optax.sgd, RATES[:0], KEYS, batch_size=BATCH)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"batch_size must .* got 21"):
        train(TINY, TINY.data, optax.sgd, RATES, KEYS, batch_size=21)
