"""What a run hands to the transformation's `update` beside the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import Workload, run_keys, train

POINTS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
ORDER = np.random.default_rng(1).permuted(np.tile(np.arange(20), (5, 1)), axis=1)[:, :8]
STEPS, BATCH = ORDER.shape
RATES = np.linspace(0.3, 0.1, STEPS, dtype=np.float32)

# ½ mean ‖w - x‖²: the gradient of any part of a batch is w less the mean of its points
MEAN_OF_POINTS = Workload(
    data=jnp.asarray(POINTS),
    init=lambda key: jnp.zeros(3),
    indices=lambda key, batch_size, num_steps: jnp.asarray(ORDER),
    batch=lambda data, indices: data[indices],
    loss=lambda w, batch, key: jnp.mean(jnp.sum((w[None] - batch) ** 2, axis=1)) / 2,
    evaluate=lambda w, data: {"norm": jnp.sum(w**2)},
)


def trained(optimizer, parts, workload=MEAN_OF_POINTS, **options):
    def run(data, keys):
        return train(
            workload,
            data,
            optimizer,
            jnp.asarray(RATES),
            keys,
            batch_size=BATCH,
            parts=parts,
            **options,
        )

    return jax.jit(run)(MEAN_OF_POINTS.data, run_keys(jax.random.key(0)))


def visited():
    """w before every step and after the last one of gradient descent, in float64."""
    w = [np.zeros(3)]
    for rate, indices in zip(RATES, ORDER, strict=True):
        w.append(w[-1] - rate * (w[-1] - POINTS[indices].mean(axis=0)))
    return np.array(w)


@pytest.mark.parametrize("parts", [1, 4])
def test_the_part_gradients_are_those_of_the_same_step(parts):
    def keeping(rate):
        """Gradient descent on the mean of the parts; its state holds what it was given last."""

        def update(gradient, state, params, *, part_gradients, **others):
            step = -rate(state["count"]) * jnp.mean(part_gradients, axis=0)
            return step, {"count": state["count"] + 1, "gradient": gradient, "parts": part_gradients}

        def init(w):
            return {"count": jnp.zeros([], int), "gradient": w, "parts": jnp.zeros((parts, *w.shape))}

        return optax.GradientTransformationExtraArgs(init, update)

    run = trained(keeping, parts, probe=lambda w, state, batch, part_gradients, key: state)
    w = visited()
    points = POINTS[ORDER].reshape(STEPS, parts, BATCH // parts, 3).mean(axis=2)
    # a probe looks before the update: at what the step before was given
    np.testing.assert_allclose(run.probes["parts"][1:], (w[:-1, None] - points)[:-1], atol=2e-6)
    np.testing.assert_allclose(run.probes["gradient"][1:], (w[:-1] - points.mean(axis=1))[:-1], atol=2e-6)
    np.testing.assert_allclose(run.params, w[-1], atol=2e-6)


@pytest.mark.parametrize("microbatches", [1, 2])
def test_the_largest_logits_are_those_of_the_whole_batch_before_the_step(microbatches):
    def keeping(rate):
        """Gradient descent; its state holds what it was given last."""

        def update(gradient, state, params, *, max_logits, **others):
            count, _ = state
            return -rate(count) * gradient, (count + 1, max_logits())

        return optax.GradientTransformationExtraArgs(lambda w: (jnp.zeros([], int), w), update)

    run = trained(
        keeping,
        1,
        workload=MEAN_OF_POINTS._replace(max_logits=lambda w, batch: jnp.max(batch - w[None], axis=0)),
        microbatches=microbatches,
        probe=lambda w, state, *_: {"logits": state[1]},
    )
    expected = POINTS[ORDER].max(axis=1) - visited()[:-1]
    np.testing.assert_allclose(run.probes["logits"][1:], expected[:-1], atol=2e-6)


@pytest.mark.parametrize("parts", [1, 4])
def test_a_transformation_that_takes_no_such_argument_trains_too(parts):
    def plain(rate):
        def update(gradient, count, params=None):
            return -rate(count) * gradient, count + 1

        return optax.GradientTransformation(lambda w: jnp.zeros([], int), update)

    np.testing.assert_allclose(trained(plain, parts).params, visited()[-1], atol=2e-6)
