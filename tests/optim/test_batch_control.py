"""The batch controller against its recursion in NumPy, the published traces, and the gain it promises."""

import copy
import functools
import math
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geometry import EUCLIDEAN, SIGN, SPECTRAL, Moments, NoiseScale, inner_product_scale, ky_fan, noise_scale
from optim import BatchController, BatchState, adaptive_batch


def scale(noise, signal, geometry=SIGN):
    return NoiseScale(jnp.float32(noise), jnp.float32(signal), geometry)


def trajectory(controller, noises, signals) -> BatchState:
    """The state after each batch, all in one program."""

    def step(state, measured):
        state = controller.update(state, lambda: scale(*measured, controller.geometry))
        return state, state

    measurements = np.float32(noises), np.float32(signals)
    return jax.jit(lambda m: jax.lax.scan(step, controller.init(), m)[1])(measurements)


def test_outside_jit_moments_are_estimated_as_inside():
    parts = np.random.default_rng(0).normal(1, 4, (4, 30)).astype(np.float32)
    noise, signal = np.sqrt(64 * parts.var(0, ddof=1) / 4).sum(), np.abs(parts.mean(0)).sum()
    controller = BatchController(SIGN, 64, 10_000, every=1)
    gathered = jax.jit(lambda parts: functools.reduce(Moments.add, parts, Moments.init(parts[0])))
    moments = gathered(jax.device_put(list(parts)))
    state = controller.update(controller.init(), lambda: moments.estimate(64, SIGN))
    assert state.batch_size == math.ceil((noise / signal / 0.6) ** 2)
    moments = gathered(jax.device_put([parts[0]]))
    with pytest.raises(ValueError, match="at least two parts, got 1"):
        controller.update(controller.init(), lambda: moments.estimate(64, SIGN))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copied_controller_has_the_threshold_of_its_geometry(copied):
    # 51.6804 / 0.3² = 574.2, and at the other geometries' 0.6: 143.6
    controller = copied(BatchController(EUCLIDEAN, 64, 4096, every=1))
    state = controller.update(controller.init(), lambda: scale(math.sqrt(51.6804), 1, EUCLIDEAN))
    assert state.batch_size == 575


def test_numbers_may_be_arrays_while_something_is_traced():
    sizes = [jnp.asarray(size) for size in (8, 64, 4)]
    theta, bad = jnp.float32(0.5), jnp.float32(1.5)

    @jax.jit
    def first_batch():
        controller = BatchController(SIGN, *sizes, theta=theta)
        tx = adaptive_batch(optax.sgd, lambda _: 0.1, controller, microbatch_size=4)
        with pytest.raises(ValueError, match=r"theta must be between 0 and 1, got 1\.5"):
            BatchController(SIGN, *sizes, theta=bad)
        return tx.init(jnp.zeros(2)).control.batch_size

    assert first_batch() == 8


@pytest.mark.parametrize(
    ("geometry", "value", "wanted", "rounded"), [(SIGN, 313.2528, 871, 896), (EUCLIDEAN, 51.6804, 575, 640)]
)
def test_published_traces_are_rounded_up(geometry, value, wanted, rounded):
    for quantum, expected in ((1, wanted), (128, rounded)):
        controller = BatchController(geometry, 64, 4096, quantum=quantum, every=1)
        state = controller.update(controller.init(), lambda: scale(math.sqrt(value), 1, geometry))
        assert state.batch_size == expected
        np.testing.assert_allclose(state.learning_rate_factor, math.sqrt(expected / 64), rtol=1e-6)


def expected_trajectory(controller, theta, growth_of_rate, noises, signals):
    """Batch sizes and ω after each batch, in float64; β's without a correction, which cancels where equal."""
    batch, factor, samples, n, m, weights = controller.batch_size, 1.0, 0, 0.0, 0.0, (1.0, 1.0)
    batches, factors = [], []
    for step, (noise, signal) in enumerate(zip(noises, signals, strict=True), start=1):
        samples += batch
        if step % controller.every == 0:
            n = controller.noise_decay * n + (1 - controller.noise_decay) * noise**2
            m = controller.signal_decay * m + (1 - controller.signal_decay) * signal**2
            weights = weights[0] * controller.noise_decay, weights[1] * controller.signal_decay
            wanted = n / (1 - weights[0]) / (m / (1 - weights[1])) / theta**2
            if samples >= controller.warmup_samples:
                rounded = controller.quantum * math.ceil(math.ceil(wanted) / controller.quantum)
                new = min(rounded, controller.max_batch_size) if wanted > batch else batch
                batch, factor = new, factor * growth_of_rate(new / batch)
        batches.append(batch)
        factors.append(factor)
    return batches, factors


@pytest.mark.parametrize(
    ("geometry", "theta", "given", "coupling", "growth_of_rate"),
    [
        (EUCLIDEAN, 0.3, None, "sqrt", math.sqrt),
        (SIGN, 0.6, None, "linear", lambda growth: growth),
        (SPECTRAL, 0.6, None, "none", lambda growth: 1),
        (SIGN, 0.45, 0.45, "sqrt", math.sqrt),
    ],
)
def test_the_batch_follows_the_recursion(geometry, theta, given, coupling, growth_of_rate):
    rng = np.random.default_rng(0)
    noises, signals = (
        np.exp(rng.normal(2.0, 0.7, 60)),
        np.exp(rng.normal(0.0, 0.7, 60)) / np.linspace(1, 4, 60),
    )
    controller = BatchController(
        geometry, 40, 5000, quantum=16, theta=given, every=3, warmup_samples=300, noise_decay=0.7,
        signal_decay=0.4, coupling=coupling,
    )  # fmt: skip
    states = trajectory(controller, noises, signals)
    batches, factors = expected_trajectory(controller, theta, growth_of_rate, noises, signals)
    assert len(set(batches)) > 3, "the trace should grow several times"
    np.testing.assert_array_equal(states.batch_size, batches)
    np.testing.assert_allclose(states.learning_rate_factor, factors, rtol=1e-5)
    np.testing.assert_array_equal(states.steps, np.arange(1, 61))
    np.testing.assert_array_equal(states.samples, np.cumsum([40, *batches[:-1]]))


@pytest.mark.parametrize(("geometry", "theta"), [(SIGN, 0.6), (SPECTRAL, 0.25), (EUCLIDEAN, 0.3)])
def test_the_batch_gains_the_promised_fraction_of_an_infinite_batch(geometry, theta):
    """κ = (1 - θ)² under the sign and spectral norms, 1 / (1 + θ²) under the Euclidean."""
    measured = scale(200, 1, geometry)
    controller = BatchController(geometry, 1, 10_000_000, theta=theta, every=1)
    state = controller.update(controller.init(), lambda: measured)
    gain = 1 / (1 + theta**2) if geometry is EUCLIDEAN else (1 - theta) ** 2
    np.testing.assert_allclose(measured.relative_gain(state.batch_size), gain, rtol=1e-4)


def test_a_batch_that_is_no_multiple_never_shrinks():
    """100 stays until more is wanted, and 101 becomes the next multiple of 64."""
    controller = BatchController(
        SIGN, 100, 4096, quantum=64, theta=0.5, every=1, noise_decay=0, signal_decay=0
    )
    states = trajectory(controller, np.sqrt([25, 24, 25.25, 10, 48]), np.ones(5))
    np.testing.assert_array_equal(states.batch_size, [100, 100, 128, 128, 192])


@pytest.mark.parametrize(
    ("noise", "signal", "batch"),
    [(1, 0, 1000), (0, 1, 32), (0, 0, 32), (math.nan, 1, 32), (1e18, 1e-18, 1000)],
)
def test_extreme_noise_scales_end_at_the_bounds(noise, signal, batch):
    controller = BatchController(SIGN, 32, 1000, quantum=64, every=1)
    state = jax.jit(lambda n, s: controller.update(controller.init(), lambda: scale(n, s)))(noise, signal)
    assert state.batch_size == batch
    np.testing.assert_allclose(state.learning_rate_factor, math.sqrt(batch / 32), rtol=1e-6)


def test_a_measurement_that_is_not_finite_is_left_out():
    """As that of a last batch of a single micro-batch, or of an overflowing gradient."""
    controller = BatchController(SIGN, 1, 10_000, theta=0.5, every=1)
    noises, signals = np.array([2, np.nan, 3, 4, 5.0]), np.array([1, 1, 0.5, np.inf, 0.25])
    kept = np.isfinite(noises) & np.isfinite(signals)
    with_all, finite = (trajectory(controller, noises[k], signals[k]) for k in (slice(None), kept))
    np.testing.assert_array_equal(np.asarray(with_all.batch_size)[kept], finite.batch_size)
    averages = (jax.tree.map(lambda x: np.asarray(x)[-1], s.average) for s in (with_all, finite))
    chex.assert_trees_all_close(*averages)


def test_numbers_may_be_traced():
    def last(theta, batch_size):
        controller = BatchController(SIGN, batch_size, 4096, quantum=16, theta=theta, every=2)
        return trajectory(controller, np.full(4, 8.0), np.ones(4)).batch_size[-1]

    traced = jax.jit(last)
    for theta, batch_size, expected in ((0.5, 64, 256), (0.8, 64, 112), (0.5, 512, 512)):
        assert traced(theta, batch_size) == last(theta, batch_size) == expected


def test_the_count_of_samples_stays_at_the_largest():
    controller = BatchController(SIGN, 2**30, 2**30)
    states = trajectory(controller, np.ones(3), np.ones(3))
    np.testing.assert_array_equal(states.samples, [2**30, 2**31 - 1, 2**31 - 1])


def test_a_last_batch_may_hold_fewer_samples():
    controller = BatchController(SIGN, 64, 128)
    assert controller.update(controller.init(), functools.partial(scale, 1, 1), samples=24).samples == 24


def test_it_tells_which_batch_will_be_measured():
    controller = BatchController(SIGN, 2, 1024, every=3, noise_decay=0, signal_decay=0)

    @jax.jit
    def step(state):
        later = controller.update(state, lambda: scale(jnp.sqrt(state.batch_size), 1))
        return controller.due(state), later.batch_size > state.batch_size, later

    state, due = controller.init(), []
    for _ in range(7):
        is_due, grew, state = step(state)
        assert grew == is_due
        due.append(bool(is_due))
    assert due == [False, False, True, False, False, True, False]


def test_the_norm_and_the_inner_product_tests_ask_for_the_batches_of_their_definitions():
    """⌈tr Ĉ/(θ²‖g‖²)⌉ and ⌈Var⟨gᵢ, g⟩/(θ²‖g‖⁴)⌉, of two leaves together, from gradients of one example."""
    gradients = np.random.default_rng(0).normal(0.3, 2, (12, 6))
    mean, covariance = gradients.mean(0), np.cov(gradients.T)
    square, theta = mean @ mean, 0.4
    expected = {
        "norm": np.trace(covariance) / square / theta**2,
        "inner product": mean @ covariance @ mean / square**2 / theta**2,
    }
    parts = np.split(np.float32(gradients), [2], axis=1)
    parts = jax.device_put({"a": parts[0], "b": parts[1].reshape(12, 2, 2)})
    controller = BatchController.norm_test(2, 100_000, theta=theta)
    measures = {
        "norm": lambda: noise_scale(parts, 12, EUCLIDEAN),
        "inner product": lambda: inner_product_scale(parts, 12),
    }
    for name, measure in measures.items():
        state = controller.update(controller.init(), measure)
        assert state.batch_size == math.ceil(expected[name])
        assert state.learning_rate_factor == 1
    assert expected["inner product"] < expected["norm"]
    state = controller.update(state, lambda: scale(1e3, 1, EUCLIDEAN))  # forgets what was before
    assert state.batch_size == 100_000
    with pytest.raises(ValueError, match="at least two parts, got 1"):
        inner_product_scale(jnp.ones((1, 3)), 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"geometry": ky_fan(2)}, r"geometry must be one of euclidean, sign, spectral, got ky_fan\(2\)"),
        ({"batch_size": 0}, r"batch_size must be in \[1, 2.14748e\+09\), got 0"),
        ({"max_batch_size": 32}, r"max_batch_size must be in \[64, 2.14748e\+09\), got 32"),
        ({"max_batch_size": 2**31}, r"max_batch_size must be in \[64, 2.14748e\+09\), got 2147483648"),
        ({"quantum": 0}, r"quantum must be in \[1, 2.14748e\+09\), got 0"),
        ({"theta": 1.0}, "theta must be between 0 and 1, got 1.0"),
        ({"theta": 0.0}, "theta must be between 0 and 1, got 0.0"),
        ({"every": 0}, r"every must be in \[1, 2.14748e\+09\), got 0"),
        ({"warmup_samples": -1}, r"warmup_samples must be in \[0, 2.14748e\+09\), got -1"),
        ({"warmup_samples": 2**31}, r"warmup_samples must be in \[0, 2.14748e\+09\), got 2147483648"),
        ({"noise_decay": 1.0}, r"noise_decay must be in \[0, 1\), got 1.0"),
        ({"signal_decay": -0.1}, r"signal_decay must be in \[0, 1\), got -0.1"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        BatchController(**({"geometry": SIGN, "batch_size": 64, "max_batch_size": 1024} | options))


def test_the_noise_of_another_geometry_is_refused():
    controller = BatchController(SPECTRAL, 64, 1024, every=1)
    with pytest.raises(ValueError, match="in the geometry spectral, got sign"):
        controller.update(controller.init(), lambda: scale(1, 1, SIGN))
