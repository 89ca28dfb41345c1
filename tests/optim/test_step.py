"""The last link of every method against its closed forms, and its weight decay's three couplings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_dtypes import bfloat16

from optim import Decay, descend, lion_cub, sign_descent, spectral_descent

LAMBDA, PEAK = 0.25, 0.5


def rate(t):
    return PEAK * 0.75**t


FRACTIONS = {  # the fraction of a weight that step t removes
    "learning_rate": lambda t: rate(t) * LAMBDA,
    "schedule": lambda t: rate(t) / PEAK * LAMBDA,
    "independent": lambda t: LAMBDA,
}


def coupled(coupling, **options):
    return Decay(coupling, peak_learning_rate=PEAK if coupling == "schedule" else None, **options)


@pytest.mark.parametrize("delta", [0.0, 0.125])
def test_an_update_is_rate_times_direction_plus_fraction_of_the_weight(delta):
    weight, direction = np.float32([[1, -2], [3, 0.5]]), np.float32([[0.5, 4], [-1, 2]])
    tx = descend(0.25, delta)
    update, _ = tx.update(jnp.asarray(direction), tx.init(jnp.asarray(weight)), jnp.asarray(weight))
    # powers of two: exact
    np.testing.assert_array_equal(update, -0.25 * direction - delta * weight)


def test_cautious_decay_takes_only_from_weights_that_the_step_makes_smaller():
    weight, direction = np.float32([2, -2, 2, -2, 2]), np.float32([1, -1, -1, 1, 0])
    expected = [-0.25 * d - (0.5 * w if d * w >= 0 else 0) for w, d in zip(weight, direction, strict=True)]
    tx = descend(0.25, Decay("independent").fraction(0.5, 0.25), cautious=True)
    update, _ = tx.update(jnp.asarray(direction), tx.init(jnp.asarray(weight)), jnp.asarray(weight))
    np.testing.assert_array_equal(update, expected)


METHODS = (sign_descent, spectral_descent, functools.partial(lion_cub, axis_name=None, workers=1))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_decays_cautiously_where_told(method):
    params, gradients = ({"dense": {"kernel": jnp.float32(row)}} for row in ([[2, -2]], [[1, 1]]))
    kinds = (method(0.5, weight_decay=0.5, decay=Decay(cautious=True)), method(0.5, weight_decay=0.0))
    cautious, plain = (tx.update(gradients, tx.init(params), params)[0]["dense"]["kernel"] for tx in kinds)
    np.testing.assert_allclose(cautious - plain, [[-0.5, 0]], atol=1e-6)


@pytest.mark.parametrize("coupling", FRACTIONS)
def test_weights_without_a_gradient_shrink_by_the_product_of_the_kept_fractions(coupling, run):
    tx = descend(rate, coupled(coupling).fraction(LAMBDA, rate))
    trajectory = run(tx, jnp.float32([1.0, -3.0]), [jnp.zeros(2)] * 4)
    kept = np.cumprod([1 - FRACTIONS[coupling](t) for t in range(4)])
    # a few float32 roundings a step
    np.testing.assert_allclose(trajectory, np.outer(kept, [1, -3]), rtol=2e-6)


@pytest.mark.parametrize("coupling", FRACTIONS)
def test_a_number_for_a_rate_decays_as_a_constant_schedule(coupling):
    fraction = coupled(coupling).fraction(LAMBDA, 0.2)
    expected = {"learning_rate": 0.2 * LAMBDA, "schedule": 0.2 / PEAK * LAMBDA, "independent": LAMBDA}
    assert fraction == pytest.approx(expected[coupling], rel=1e-12)


@pytest.mark.parametrize("coupling", FRACTIONS)
def test_the_state_holds_the_count_and_the_rates_of_the_last_step(coupling):
    tx = descend(rate, coupled(coupling).fraction(LAMBDA, rate))
    params = jnp.ones(3)
    state = tx.init(params)
    for updates_so_far, last in enumerate([0, 0, 1, 2]):
        assert int(state.count) == updates_so_far
        np.testing.assert_allclose(state.eta, rate(last), rtol=1e-6)
        np.testing.assert_allclose(state.delta, FRACTIONS[coupling](last), rtol=1e-6)
        _, state = tx.update(params, state, params)


def test_the_state_keeps_its_types_so_that_it_can_be_scanned():
    tx = descend(lambda t: 0.1, 0.01)
    params = jnp.ones(2)
    gradients = jnp.ones((5, 2))

    def step(state, gradient):
        updates, state = tx.update(gradient, state, params)
        return state, updates

    state, updates = jax.lax.scan(step, tx.init(params), gradients)
    assert int(state.count) == 5
    np.testing.assert_allclose(updates, np.full((5, 2), -0.11), rtol=1e-6)


def test_bfloat16_is_computed_in_float32_and_rounded_once():
    rng = np.random.default_rng(0)
    direction, weight = (rng.normal(size=256).astype(bfloat16) for _ in range(2))
    eta, delta = np.float32(0.1), np.float32(0.03)
    tx = descend(0.1, 0.03)
    update, _ = tx.update(jnp.asarray(direction), tx.init(jnp.asarray(weight)), jnp.asarray(weight))
    expected = (-eta * direction.astype(np.float32) - delta * weight.astype(np.float32)).astype(bfloat16)
    rounded_early = -eta.astype(bfloat16) * direction - delta.astype(bfloat16) * weight
    assert update.dtype == jnp.bfloat16
    assert np.any(rounded_early != expected)
    np.testing.assert_array_equal(np.asarray(update), expected)


MASK = {"kernel": True, "bias": False}


@pytest.mark.parametrize(
    "mask",
    [MASK, {**MASK, "elsewhere": True}, lambda params: jax.tree.map(lambda p: p.ndim > 1, params)],
    ids=["tree", "larger tree", "function"],
)
def test_masked_leaves_do_not_decay(mask):
    params = {"kernel": jnp.full((2, 2), 4.0), "bias": jnp.full(2, 4.0)}
    tx = descend(0.5, 0.25, mask)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_array_equal(updates["kernel"], np.full((2, 2), -1.0))
    np.testing.assert_array_equal(updates["bias"], np.zeros(2))


LAYERS = {"a": {"kernel": jnp.full((2, 2), 4.0), "bias": jnp.full(2, 4.0)}, "ab": jnp.full(3, 4.0)}


@pytest.mark.parametrize(
    "mask",
    [
        True,
        False,
        {"a": True, "ab": False},
        {"a": {"kernel": True, "bias": False}, "ab": True},
        lambda params: {"a": False, "ab": True},
    ],
)
def test_a_mask_may_be_a_prefix_as_optax_takes_it(mask):
    zeros = jax.tree.map(jnp.zeros_like, LAYERS)
    ours, theirs = descend(0.5, 0.25, mask), optax.add_decayed_weights(-0.25, mask)
    found, expected = (tx.update(zeros, tx.init(LAYERS), LAYERS)[0] for tx in (ours, theirs))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_without_decay_the_parameters_are_not_needed():
    tx = descend(0.5)
    update, _ = tx.update(jnp.float32([2.0]), tx.init(jnp.zeros(1)))
    np.testing.assert_array_equal(update, [-1.0])


def test_decay_without_the_parameters_is_refused():
    tx = descend(0.5, 0.1)
    with pytest.raises(ValueError, match="params are needed for weight decay"):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))


def test_a_mask_that_lacks_leaves_is_refused_with_their_paths():
    params = {"layer": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
    tx = descend(0.1, 0.1, {"layer": {"kernel": True}})
    with pytest.raises(ValueError, match="mask must cover every leaf, but lacks layer/bias"):
        tx.init(params)


@pytest.mark.parametrize(
    ("rates", "name"),
    [
        ((-0.1,), "learning_rate"),
        ((np.inf,), "learning_rate"),
        ((np.nan,), "learning_rate"),
        ((0.1, -0.1), "decay"),
        ((0.1, 1.0), "decay"),
        ((0.1, np.nan), "decay"),
        ((0.1, np.array("x")), "decay"),
        ((0.1, np.array(None)), "decay"),
    ],
)
def test_a_rate_outside_its_range_is_refused_by_name(rates, name):
    with pytest.raises(ValueError, match=f"^{name} must be in .* got {rates[-1]}"):
        descend(*rates)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coupling": "schedule"}, "peak_learning_rate must be given"),
        ({"coupling": "learning_rate", "peak_learning_rate": 0.1}, "peak_learning_rate must be given"),
        ({"coupling": "independent", "peak_learning_rate": 0.1}, "peak_learning_rate must be given"),
        ({"coupling": "schedule", "peak_learning_rate": 0.0}, "peak_learning_rate must be positive"),
        ({"coupling": "schedule", "peak_learning_rate": -0.1}, "peak_learning_rate must be positive"),
        ({"coupling": "schedule", "peak_learning_rate": np.nan}, "peak_learning_rate must be positive"),
    ],
)
def test_a_peak_is_given_for_the_schedule_coupling_alone(options, message):
    with pytest.raises(ValueError, match=message):
        Decay(**options)


def test_an_unknown_coupling_is_refused_by_name():
    # the suite's type checker may be the first to see it
    with pytest.raises((ValueError, TypeError), match="coupling"):
        Decay("weight")


@pytest.mark.parametrize("coupling", ["learning_rate", "independent"])
def test_coupled_decay_is_that_of_optax(coupling, run):
    # optax's AdamW without Adam: add_decayed_weights before the learning rate; after it, decay is independent
    decayed, scaled = optax.add_decayed_weights(LAMBDA), optax.scale_by_learning_rate(rate)
    chained = optax.chain(scaled, optax.add_decayed_weights(-LAMBDA))
    theirs = optax.chain(decayed, scaled) if coupling == "learning_rate" else chained
    ours = descend(rate, coupled(coupling).fraction(LAMBDA, rate))
    gradients = [jnp.float32([1.0, -2.0, t]) for t in range(4)]
    start = jnp.float32([3.0, 1.0, -1.0])
    # weights near 3, a rounding for each of four steps
    np.testing.assert_allclose(run(ours, start, gradients), run(theirs, start, gradients), rtol=0, atol=4e-6)
