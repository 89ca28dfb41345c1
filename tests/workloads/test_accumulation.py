"""Micro-batches, clipped gradients, averaged weights and the losses along the way, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import AtOnce, Workload, run_keys, train
from workloads.memory import sweep_memory

POINTS = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
ORDER = np.random.default_rng(1).permuted(np.tile(np.arange(24), (6, 1)), axis=1)[:, :12]
STEPS, BATCH = ORDER.shape
RATES = np.linspace(0.3, 0.1, STEPS, dtype=np.float32)
KEYS = run_keys(jax.random.key(0))

# ½ mean ‖w - x‖²: the gradient is w less the mean of the batch's points
MEAN_OF_POINTS = Workload(
    data=jnp.asarray(POINTS),
    init=lambda key: jnp.float32([3.0, -2.0, 1.0]),
    indices=lambda key, batch_size, num_steps: jnp.asarray(ORDER),
    batch=lambda data, indices: data[indices],
    loss=lambda w, batch, key: jnp.mean(jnp.sum((w[None] - batch) ** 2, axis=1)) / 2,
    evaluate=lambda w, data: {f"w{i}": w[i] for i in range(3)},
)


def trained(optimizer=optax.sgd, workload=MEAN_OF_POINTS, **options):
    def run(data, rates):
        return train(workload, data, optimizer, rates, KEYS, batch_size=BATCH, **options)

    return jax.jit(run)(workload.data, jnp.asarray(RATES))


def visited(clip=np.inf):
    """w before every step and after the last of gradient descent in float64, its gradients clipped."""
    w = [np.array([3.0, -2.0, 1.0])]
    for rate, indices in zip(RATES, ORDER, strict=True):
        gradient = w[-1] - POINTS[indices].astype(np.float64).mean(axis=0)
        w.append(w[-1] - rate * gradient * min(1, clip / np.linalg.norm(gradient)))
    return np.array(w)


def evaluated(run):
    return np.stack([run.metrics[f"w{i}"] for i in range(3)], axis=-1)


@pytest.mark.parametrize(("parts", "microbatches"), [(1, 1), (1, 4), (1, 12), (3, 2), (2, 6)])
def test_accumulated_gradients_and_losses_are_those_of_the_whole_batch(parts, microbatches):
    run = trained(parts=parts, microbatches=microbatches)
    w = visited()
    np.testing.assert_allclose(run.params, w[-1], atol=2e-6)
    distances = w[:-1, None] - POINTS[ORDER].astype(np.float64)
    np.testing.assert_allclose(run.losses, (distances**2).sum(axis=2).mean(axis=1) / 2, rtol=2e-6)


def test_every_microbatch_draws_its_own_noise():
    noisy = MEAN_OF_POINTS._replace(
        init=lambda key: jnp.zeros(()),
        indices=lambda key, batch_size, num_steps: jnp.zeros((200, batch_size), int),
        loss=lambda w, batch, key: w * jax.random.normal(key),
        evaluate=lambda w, data: {"w": w},
    )

    def gradients(data):
        run = train(
            noisy,
            data,
            optax.sgd,
            jnp.ones(200),
            KEYS,
            batch_size=BATCH,
            microbatches=4,
            probe=lambda w, state, batch, part_gradients, key: {"gradient": part_gradients[0]},
        )
        return run.probes["gradient"]

    draws = np.asarray(jax.jit(gradients)(noisy.data), np.float64)
    # means of four draws of N(0, 1): the variance is 1/4, a z-test at level 0.01; one draw for all has 1
    assert abs(np.mean(draws**2) * 4 - 1) * np.sqrt(200 / 2) < 2.58


@pytest.mark.parametrize("clip", [0.5, 1.5])
def test_gradients_are_clipped_after_they_are_accumulated(clip):
    def clipped(schedule):
        return optax.chain(optax.clip_by_global_norm(clip), optax.sgd(schedule))

    w = visited(clip)
    assert np.abs(w - visited()).max() > 0.01
    np.testing.assert_allclose(trained(clipped, microbatches=3).params, w[-1], atol=2e-6)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_the_average_that_is_evaluated_is_the_weighted_mean_of_the_weights_visited(decay):
    run = trained(average_decay=decay, evaluate_at=range(STEPS + 1))
    w = visited()
    for t, found in enumerate(evaluated(run)):
        weights = decay ** np.arange(t)[::-1] if t else np.ones(1)
        expected = np.average(w[1 : t + 1] if t else w[:1], axis=0, weights=weights)
        np.testing.assert_allclose(found, expected, atol=3e-6)
    np.testing.assert_allclose(run.params, w[-1], atol=2e-6)  # and the run is not changed by it
    np.testing.assert_array_equal(run.average, evaluated(run)[-1])


def test_decays_may_differ_from_run_to_run():
    decays = jnp.float32([0.0, 0.7])

    def average(decay):
        rates = jnp.asarray(RATES)
        return train(
            MEAN_OF_POINTS, MEAN_OF_POINTS.data, optax.sgd, rates, KEYS, batch_size=BATCH, average_decay=decay
        ).average

    for mapped, decay in zip(jax.vmap(average)(decays), (0.0, 0.7), strict=True):
        np.testing.assert_allclose(mapped, trained(average_decay=decay).average, atol=2e-6)


def test_without_averaging_there_is_no_average():
    assert trained().average is None


def test_a_microbatch_at_a_time_takes_that_much_less_memory():
    wide = MEAN_OF_POINTS._replace(
        init=lambda key: jnp.ones((3, 4096)),
        loss=lambda w, batch, key: jnp.mean(jnp.tanh(jnp.tanh(batch @ w) @ w.T)),
        evaluate=lambda w, data: {"w": jnp.sum(w)},
    )

    def work(microbatches):
        def run(rates, data):
            options = {"batch_size": BATCH, "microbatches": microbatches}
            return train(wide, data, optax.sgd, rates, KEYS, **options).metrics

        return sweep_memory(AtOnce(run), RATES[None], wide.data, capacity=1).work

    activations = BATCH * 4096 * 4
    assert work(1) - work(12) > activations  # of at least one layer, eleven twelfths of it and of others


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"microbatches": 0}, "microbatches must be a positive divisor of the 12 examples of a part, got 0"),
        ({"microbatches": 5}, "microbatches must be a positive divisor of the 12 examples of a part, got 5"),
        ({"parts": 3, "microbatches": 3}, "divisor of the 4 examples of a part, got 3"),
        ({"average_decay": 1.0}, r"average_decay must be in \[0, 1\), got 1.0"),
        ({"average_decay": -0.1}, r"average_decay must be in \[0, 1\), got -0.1"),
    ],
)
def test_meaningless_options_are_refused_by_name(option, message):
    with pytest.raises(ValueError, match=message):
        trained(**option)
