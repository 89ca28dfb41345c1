"""Training with several workers: against a plain loop over them, cut in segments, on shards of the data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
from optim import distributed_signum, local_sgd, on_workers, post_local_sgd
from workloads import (
    even_shards,
    load,
    long_sweep,
    run_keys,
    run_mesh,
    sharded,
    skewed_shards,
    train,
    trainer,
)

WORKERS, BATCH, STEPS, EVERY = 4, 8, 12, 3
REGRESSION = load("linear_regression", dimension=24, exponent=0.5)
RATES = jnp.asarray(np.float32(np.linspace(0.1, 0.02, STEPS)))
KEY = jax.random.key(3)
OPTIONS = {"batch_size": BATCH, "workers": WORKERS, "hooks": optim}


def local(schedule):
    inner = optax.sgd(schedule, momentum=0.5)
    return on_workers(local_sgd(inner, every=EVERY, axis_name="workers", workers=WORKERS), WORKERS)


def trained(optimizer=local, workload=REGRESSION, **options):
    def run(data, rates, key):
        return train(workload, data, optimizer, rates, run_keys(key), **{**OPTIONS, **options})

    return jax.jit(run)(workload.data, RATES, KEY)


def close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def python_loop():
    """The workers' parameters after every step; of each batch, a quarter in order for each of them."""
    keys = run_keys(KEY)
    rows = jax.jit(lambda key: REGRESSION.indices(key, BATCH, STEPS))(keys.data)
    inner = optax.sgd(lambda count: RATES[count], momentum=0.5)
    params = [jax.jit(REGRESSION.init)(keys.init)] * WORKERS
    states, visited = [jax.jit(inner.init)(params[0])] * WORKERS, []

    @jax.jit
    def moved(params, state, share):
        gradient = jax.grad(REGRESSION.loss)(params, REGRESSION.batch(REGRESSION.data, share), keys.loss)
        updates, state = inner.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for step, row in enumerate(rows):
        for worker, share in enumerate(np.split(np.asarray(row), WORKERS)):
            params[worker], states[worker] = moved(params[worker], states[worker], share)
        if (step + 1) % EVERY == 0:
            params = [jax.tree.map(lambda *leaves: sum(map(np.asarray, leaves)) / WORKERS, *params)] * WORKERS
        visited.append(jax.tree.map(lambda *leaves: np.stack(leaves), *params))
    return visited


def test_a_run_of_workers_is_a_loop_over_them_evaluated_at_the_anchor():
    visited = python_loop()
    run = trained(
        evaluate_at=(2, STEPS),
        probe=lambda params, state, batch, parts, key: {"params": params, "parts": parts},
    )
    close(run.params, visited[-1])
    anchors = [REGRESSION.init(run_keys(KEY).init), jax.tree.map(lambda leaf: leaf[0], visited[-1])]
    for place, anchor in enumerate(anchors):  # the first still waits for its first boundary
        expected = REGRESSION.evaluate(anchor, REGRESSION.data)
        close(jax.tree.map(lambda values: values[place], run.metrics), expected)  # noqa: B023
    seen = jax.tree.map(lambda leaf: leaf[1:], run.probes["params"])
    close(seen, jax.tree.map(lambda *leaves: np.stack(leaves), *visited[:-1]))
    parts = {leaf.shape[:3] for leaf in jax.tree.leaves(run.probes["parts"])}
    assert parts == {(STEPS, 1, WORKERS)}


@pytest.mark.parametrize("options", [{}, {"parts": 2}, {"microbatches": 2}])
def test_workers_that_average_every_gradient_are_one_large_batch(options):
    averaging = lambda schedule: on_workers(  # noqa: E731
        post_local_sgd(optax.adam(schedule), every=EVERY, start=STEPS, axis_name="workers"), WORKERS
    )
    found = trained(averaging, **options)
    expected = trained(optax.adam, workers=None, hooks=None)
    close((found.metrics, found.losses), (expected.metrics, expected.losses))
    close(found.params, jax.tree.map(lambda leaf: jnp.stack([leaf] * WORKERS), expected.params))


def test_one_worker_is_a_run_without_workers():
    stack_of_one = trained(lambda schedule: on_workers(optax.adam(schedule), 1), workers=1)
    plain = trained(optax.adam, workers=None, hooks=None)
    close(stack_of_one.metrics, plain.metrics)


def in_stages(row, data):
    keys = run_keys(row["key"])
    workload = sharded(REGRESSION, row["shards"])
    return trainer(workload, data, local, row["rates"], keys, **OPTIONS, evaluate_at=(4, STEPS))


@pytest.mark.bits
def test_interrupted_is_uninterrupted():
    """Between two boundaries and at one, saved and restored, in one program for both kinds of shards."""
    keys = jax.random.split(KEY, 3)
    rows = {
        "rates": jnp.stack([RATES] * 3),
        "key": keys,
        "shards": jnp.stack(
            [even_shards(keys[0], 24, WORKERS), *[skewed_shards(jnp.arange(24), WORKERS)] * 2]
        ),
    }
    swept = long_sweep(in_stages, rows, REGRESSION.data, mesh=run_mesh(2))
    reference = swept.whole(STEPS)
    state = swept.begin()
    for until in (4, 6):
        state = swept.restored(swept.saved(swept.advance(state, until)))
    found = swept.finish(swept.advance(state, STEPS))
    jax.tree.map(np.testing.assert_array_equal, found, reference)


def test_votes_of_workers_keep_them_together():
    vote = lambda schedule: on_workers(  # noqa: E731
        distributed_signum(schedule, axis_name="workers", workers=WORKERS), WORKERS
    )
    run = trained(vote)
    for leaf in jax.tree.leaves(run.params):
        assert np.ptp(leaf, axis=0).max() == 0


LABELS = jnp.asarray(np.random.default_rng(0).integers(0, 10, 103))


def test_shards_are_all_of_a_size_and_share_nothing():
    for shards in (even_shards(KEY, 103, WORKERS), skewed_shards(LABELS, WORKERS)):
        assert shards.shape == (WORKERS, 25)
        assert len(np.unique(shards)) == 100
    labels = np.asarray(LABELS[skewed_shards(LABELS, WORKERS)])
    assert np.all(np.diff(labels.ravel()) >= 0)  # ranges of labels, one beyond the other


def test_each_worker_goes_through_its_own_shard_every_epoch():
    shards = skewed_shards(LABELS, WORKERS)
    workload = sharded(REGRESSION, shards)
    rows = np.asarray(workload.indices(KEY, 5 * WORKERS, 10)).reshape(10, WORKERS, 5)
    for worker, shard in enumerate(np.asarray(shards)):
        for epoch in np.split(rows[:, worker], 2):
            np.testing.assert_array_equal(np.sort(epoch.ravel()), np.sort(shard))
    with pytest.raises(ValueError, match=r"batch_size must be in \[1, 25\]"):
        workload.indices(KEY, 26 * WORKERS, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be a positive divisor of batch_size=8, got 0"),
        ({"workers": 3}, "workers must be a positive divisor of batch_size=8, got 3"),
        ({"parts": 4}, "parts must be a positive divisor of batch_size=2, got 4"),
        ({"hooks": None}, "hooks must be given with workers"),
        ({"average_decay": 0.5}, "average_decay must be None where the optimizer"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        trained(**options)
