"""What methods ask of a run: the gradient of its batch again, and weights drawn before it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
from tests.workloads.test_part_gradients import BATCH, MEAN_OF_POINTS, ORDER, POINTS, RATES, STEPS
from workloads import long_sweep, run_keys, run_mesh, train, trainer

KEY = jax.random.key(2)
RADIUS = 0.3
# whose gradient depends on the key of the step
NOISY = MEAN_OF_POINTS._replace(
    loss=lambda w, batch, key: MEAN_OF_POINTS.loss(w, batch, key) * jax.random.uniform(key)
)


def trained(optimizer, workload=MEAN_OF_POINTS, **options):
    def run(data, keys):
        options_of_all = {"batch_size": BATCH, "hooks": optim, **options}
        return train(workload, data, optimizer, jnp.asarray(RATES), keys, **options_of_all)

    return jax.jit(run)(workload.data, run_keys(KEY))


def sharpness_aware(schedule, radius=RADIUS, parts=1):
    return optim.sharpness_aware(optax.sgd(schedule), radius=radius, parts=parts)


@pytest.mark.parametrize("options", [{}, {"parts": 4}, {"parts": 2, "microbatches": 2}])
@pytest.mark.parametrize("own_parts", [False, True])
def test_the_gradient_is_taken_again_of_the_same_batch_and_of_its_parts(options, own_parts):
    """SAM steps by g + ρ g/‖g‖ where g is w less the mean of points, of the batch or of each part."""
    parts = options.get("parts", 1) if own_parts else 1
    run = trained(functools.partial(sharpness_aware, parts=parts), **options)
    w = np.zeros(3)
    for rate, indices in zip(RATES, ORDER, strict=True):
        gradients = w - POINTS[indices].reshape(parts, -1, 3).mean(axis=1)
        lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
        w = w - rate * np.mean(gradients + RADIUS * gradients / lengths, axis=0)
    np.testing.assert_allclose(run.params, w, rtol=1e-5)


@pytest.mark.parametrize("parts", [1, 2])
def test_it_is_taken_again_with_the_same_key(parts):
    """At the same place it is the gradient that the step began with."""
    options = {"workload": NOISY, "parts": parts, "microbatches": 2}
    again = trained(functools.partial(sharpness_aware, radius=0.0, parts=parts), **options)
    np.testing.assert_allclose(again.params, trained(optax.sgd, **options).params, rtol=1e-6)


def test_the_gradient_is_that_at_what_the_optimizer_draws():
    """Against a loop that draws by `optim.sample` and takes the gradient there."""
    tx = optim.ivon(lambda count: jnp.asarray(RATES)[count], examples=20, b2=0.9)
    keys, w = run_keys(KEY), jnp.zeros(3)
    state, losses, update = tx.init(w), [], jax.jit(tx.update)
    for t, indices in enumerate(ORDER):
        drawn, state = optim.sample(jax.random.fold_in(keys.sample, t), state, w)
        losses.append(np.mean(np.sum((np.asarray(drawn) - POINTS[indices]) ** 2, axis=1)) / 2)
        updates, state = update(drawn - POINTS[indices].mean(axis=0), state, w)
        w = optax.apply_updates(w, updates)
    run = trained(functools.partial(optim.ivon, examples=20, b2=0.9), evaluate_at=(0, STEPS))
    np.testing.assert_allclose(run.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(run.params, w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.metrics["norm"], [0, np.sum(w**2)], rtol=1e-5)  # of the means


def in_stages(row, data):
    def optimizer(schedule):
        return optim.sharpness_aware(optim.ivon(schedule, examples=20, b2=0.9), radius=row["radius"])

    keys, rates = run_keys(row["key"]), jnp.asarray(RATES)
    return trainer(MEAN_OF_POINTS, data, optimizer, rates, keys, batch_size=BATCH, hooks=optim)


@pytest.mark.bits
def test_interrupted_is_uninterrupted():
    rows = {"key": jax.random.split(KEY, 2), "radius": np.float32([0.1, 0.2])}
    swept = long_sweep(in_stages, rows, MEAN_OF_POINTS.data, mesh=run_mesh(1))
    reference = swept.whole(STEPS)
    state = swept.restored(swept.saved(swept.advance(swept.begin(), 2)))
    jax.tree.map(np.testing.assert_array_equal, swept.finish(swept.advance(state, STEPS)), reference)
    assert np.all(np.isfinite(reference.params))


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (sharpness_aware, {"workers": 2}, "sharpness_aware needs params and grad_fn"),
        (lambda s: optim.ivon(s, examples=20), {"workers": 2}, "on_workers: no weights are drawn"),
        (
            lambda s: optim.ivon(s, examples=20, samples=2),
            {},
            "hooks must draw parameters of the same",
        ),
        (lambda s: optim.schedule_free(optax.sgd, 0.1), {"average_decay": 0.5}, "average_decay must be None"),
    ],
)
def test_what_a_run_cannot_give_is_refused(optimizer, options, message):
    def build(schedule):
        made = optimizer(schedule)
        return optim.on_workers(made, options["workers"]) if "workers" in options else made

    with pytest.raises(ValueError, match=message):
        trained(build, **options)
