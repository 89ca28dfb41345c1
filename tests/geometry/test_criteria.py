"""Criteria for a layer's geometry against their formulas in NumPy, line minima and simulated runs."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from geometry import (
    SIGN,
    SPECTRAL,
    MatrixView,
    NoiseScale,
    curvature_index,
    isotropic_log_smoothness,
    nuclear_rank,
    parameter_norm_bounds,
    spec_sign_index,
    stable_rank,
)

INF = math.inf


@jax.jit
def index_of_terms(spectral, sign, batch_size, tau, log_smoothness_ratio):
    scales = NoiseScale(*spectral, SPECTRAL), NoiseScale(*sign, SIGN)
    return spec_sign_index(*scales, batch_size, tau=tau, log_smoothness_ratio=log_smoothness_ratio)


def index(spectral, sign, batch_size, **options):
    """`spec_sign_index` of two (noise, signal)."""
    terms = np.float32(spectral), np.float32(sign), np.float32(batch_size)
    options = {"tau": 1.0, "log_smoothness_ratio": 0.0} | options
    return index_of_terms(*terms, *map(np.float32, options.values()))


@pytest.mark.parametrize("tau", [1, 2, 0.5])
@pytest.mark.parametrize("shift", [0.0, -1.5])
def test_the_index_follows_its_formula(tau, shift):
    rng = np.random.default_rng(0)
    for _ in range(5):
        (noise, sign_noise), (signal, sign_signal) = rng.uniform(1, 4, 2), rng.uniform(2, 9, 2)
        batch_size = int(rng.integers(20, 300))
        scales = (noise / signal) ** 2, (sign_noise / sign_signal) ** 2
        shares = [1 - tau * math.sqrt(scale / batch_size) for scale in scales]
        assert min(shares) > 0
        expected = 2 * math.log(signal / sign_signal) + 2 * math.log(shares[0] / shares[1]) + shift
        computed = index(
            (noise, signal), (sign_noise, sign_signal), batch_size, tau=tau, log_smoothness_ratio=shift
        )
        np.testing.assert_allclose(computed, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("spectral", "sign", "tau", "expected"),  # noise and signal; of 4 examples, so noise counts by half
    [
        ((2, 3), (2, 2), 1, 2 * math.log(2)),
        ((2, 2), (2, 3), 1, -2 * math.log(2)),
        ((0, 5), (0, 5), 1, 0),
        ((4, 2), (2, 2), 1, -INF),  # the nuclear signal does not stand out of its noise
        ((2, 2), (6, 2), 1, INF),
        ((4, 2), (6, 2), 1, 0),  # neither does: undecided
        ((2, 2), (1, 2), 2, -INF),  # stands out in expectation, not for every gradient
        ((0, 0), (0, 0), 1, 0),
    ],
)
def test_the_sign_of_the_index_says_who_gains(spectral, sign, tau, expected):
    np.testing.assert_allclose(index(spectral, sign, 4, tau=tau), expected, rtol=1e-6)


def test_smoothness_decides_nothing_without_a_sure_signal():
    for spectral, sign, expected in (((4, 2), (2, 2), -INF), ((2, 2), (6, 2), INF), ((4, 2), (6, 2), 0)):
        assert index(spectral, sign, 4, log_smoothness_ratio=7.0) == expected


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_rescaling_the_loss_leaves_the_index(scale):
    terms = np.array([[3.0, 7.0], [4.0, 8.0]])
    np.testing.assert_allclose(index(*(scale * terms), 16), index(*terms, 16), rtol=1e-5)


HADAMARD = np.kron([[1, 1], [1, -1]], [[1, 1], [1, -1]])


@pytest.mark.parametrize(
    ("gradient", "ratio"),
    [(np.eye(4), 1), (np.ones((4, 4)), 1), (HADAMARD, 1), ([[3, 1], [1, 1]], 8 / 9)],
)
def test_published_ratios_under_the_identity(gradient, ratio):
    computed = jax.jit(lambda g: curvature_index(g, lambda v: v))({"kernel": jnp.float32(gradient)})
    np.testing.assert_allclose(np.exp(computed["kernel"]), ratio, rtol=1e-5)


LEAVES = {"bias": (3,), "first": (2, 4), "last": (3, 2)}
SIZES = {leaf: math.prod(shape) for leaf, shape in LEAVES.items()}


def quadratic():
    """(H, gradient) of a loss over all leaves together, coupled with one another."""
    rng = np.random.default_rng(1)
    half = rng.normal(size=(sum(SIZES.values()), 30))
    return half @ half.T / 30, {leaf: rng.normal(size=shape) for leaf, shape in LEAVES.items()}


def flat(tree):
    return np.concatenate([np.ravel(tree[leaf]) for leaf in LEAVES])


def best_drop(hessian, gradient, direction):
    """How far the loss falls along -direction, by a line search."""
    slope, curvature = flat(gradient) @ direction, direction @ hessian @ direction
    best = minimize_scalar(lambda step: step**2 / 2 * curvature - step * slope, tol=1e-12)
    return -best.fun


def test_on_a_quadratic_the_index_compares_the_best_steps_of_one_leaf():
    hessian, gradient = quadratic()
    ends = np.cumsum(list(SIZES.values()))[:-1]

    def product(tree):
        blocks = jnp.split(
            jnp.asarray(hessian) @ jnp.concatenate([tree[leaf].ravel() for leaf in LEAVES]), ends
        )
        return {leaf: block.reshape(LEAVES[leaf]) for leaf, block in zip(LEAVES, blocks, strict=True)}

    with jax.enable_x64(True):
        computed = jax.jit(lambda g: curvature_index(g, product))(gradient)
    assert list(computed) == ["first", "last"]
    for leaf, value in computed.items():
        u, _, vt = np.linalg.svd(gradient[leaf], full_matrices=False)
        zeros = {other: np.zeros(shape) for other, shape in LEAVES.items()}
        steps = (flat({**zeros, leaf: moved}) for moved in (u @ vt, np.sign(gradient[leaf])))
        drops = [best_drop(hessian, gradient, step) for step in steps]
        # the polar factor of ten steps, and a line search to the root of rounding
        np.testing.assert_allclose(value, np.log(drops[0] / drops[1]), atol=1e-6)


def test_views_are_polarised_block_by_block():
    views = {"conv": MatrixView((0, 1, 2), (3,)), "qkv": MatrixView((0,), (1,), blocks=(3, 2))}
    rng = np.random.default_rng(2)
    gradient = {
        "conv": rng.normal(size=(2, 2, 2, 3)),
        "qkv": rng.normal(size=(4, 5)),
        "plain": np.ones((2, 2)),
    }
    matrices = {"conv": [gradient["conv"].reshape(8, 3)], "qkv": np.split(gradient["qkv"], [3], axis=1)}
    by_view = functools.partial(curvature_index, view=lambda path, shape: views.get(path))
    computed = jax.jit(lambda g: by_view(g, lambda v: v))(jax.tree.map(jnp.float32, gradient))
    assert computed.keys() == views.keys()
    for leaf, blocks in matrices.items():
        spectral = sum(np.linalg.norm(b, "nuc") for b in blocks) ** 2 / sum(min(b.shape) for b in blocks)
        sign = np.abs(gradient[leaf]).sum() ** 2 / gradient[leaf].size
        np.testing.assert_allclose(computed[leaf], np.log(spectral / sign), atol=1e-5)
        # without noise, the index by the bounds is the same, given how the identity bends
        nuclear, l1 = sum(np.linalg.norm(b, "nuc") for b in blocks), np.abs(gradient[leaf]).sum()
        shift = isotropic_log_smoothness(views[leaf], gradient[leaf].shape)
        by_bounds = index((0, nuclear), (0, l1), 4, log_smoothness_ratio=shift)
        np.testing.assert_allclose(by_bounds, computed[leaf], atol=1e-5)


def test_without_positive_curvature_of_both_directions_the_index_is_undecided():
    gradient = jnp.float32([[3, 1], [1, 1]])  # its polar factor is I, its sign all ones
    products = {
        "concave": lambda v: -v,
        "flat": lambda v: 0 * v,
        "concave along I alone": lambda v: v - 0.7 * jnp.eye(2) * jnp.trace(v),
        "concave along ones alone": lambda v: v - 0.3 * jnp.sum(v),
    }

    @jax.jit
    def indices(gradient):
        single = {name: curvature_index(gradient, product) for name, product in products.items()}
        pair = {"a": gradient, "b": gradient[::-1]}
        return single, curvature_index(pair, lambda v: {"a": -v["a"], "b": v["b"]})

    single, pair = indices(gradient)
    assert [float(*found.values()) for found in single.values()] == [0.0] * len(products)
    assert pair["a"] == 0
    np.testing.assert_allclose(np.exp(pair["b"]), 8 / 9, rtol=1e-5)


@jax.jit
def ranks(x):
    return nuclear_rank(x), stable_rank(x)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 6), (2, 3, 4, 6)])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_ranks_are_numpys_at_any_scale(shape, scale):
    x = np.random.default_rng(3).normal(size=shape) * [1, 1e-2, *[1] * (shape[-1] - 2)]
    values = np.linalg.svd(x, compute_uv=False)
    squares = np.sum(values**2, axis=-1)
    nuclear, stable = ranks(np.float32(x * scale))
    np.testing.assert_allclose(nuclear, np.sum(values, axis=-1) ** 2 / squares, rtol=1e-3)
    np.testing.assert_allclose(stable, squares / values[..., 0] ** 2, rtol=1e-5)


def test_ranks_of_zero_and_of_matrices_with_equal_singular_values():
    x = np.stack([np.zeros((4, 4)), np.eye(4), np.ones((4, 4)), np.diag([1, 1, 0, 0]), HADAMARD])
    for values in ranks(np.float32(x)):
        np.testing.assert_allclose(values, [0, 4, 1, 2, 4], rtol=1e-3)


def test_the_bound_follows_its_closed_form():
    rate, decay, initial = 0.1, 0.5, 3.0
    steps = np.arange(1, 51)
    shrunk = (1 - rate * decay) ** steps
    np.testing.assert_allclose(
        parameter_norm_bounds(initial, jnp.full(50, rate), decay),
        shrunk * initial + (1 - shrunk) / decay,
        rtol=1e-5,
    )
    np.testing.assert_allclose(parameter_norm_bounds(0.0, jnp.full(50, rate), decay)[-1], 1.84611, atol=5e-6)


def test_without_decay_rates_add_up():
    rates = np.random.default_rng(4).uniform(0, 2, 20).astype(np.float32)
    np.testing.assert_allclose(
        parameter_norm_bounds(1.5, jnp.asarray(rates), 0), 1.5 + np.cumsum(rates), rtol=1e-5
    )


def test_no_run_of_orthogonal_updates_leaves_the_bound_and_a_constant_one_attains_it():
    rng, decay = np.random.default_rng(5), 0.4
    rates = rng.uniform(0.05, 0.6, 60)

    def norms(updates):
        w = 2.5 * np.linalg.qr(rng.normal(size=(4, 4)))[0] if updates is None else -2.5 * updates[0]
        updates = [np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in rates] if updates is None else updates
        for rate, update in zip(rates, updates, strict=True):
            w = (1 - rate * decay) * w - rate * update
            yield np.linalg.norm(w, 2)

    bounds = parameter_norm_bounds(2.5, jnp.float32(rates), decay)
    random = np.array(list(norms(None)))
    assert np.all(random <= bounds * (1 + 1e-5))
    assert np.any(random < 0.5 * bounds)
    constant = [np.linalg.qr(rng.normal(size=(4, 4)))[0]] * len(rates)
    np.testing.assert_allclose(list(norms(constant)), bounds, rtol=1e-5)


def test_a_decay_that_overshoots_is_refused_unless_traced():
    rates = jnp.float32([0.1, 0.5, 2.5])
    np.testing.assert_allclose(parameter_norm_bounds(1.0, rates, 0.4)[-1], 2.5)  # ηλ = 1 forgets everything
    with pytest.raises(ValueError, match=r"learning_rates: ηλ must be at most 1 at every step, got 1\.25"):
        parameter_norm_bounds(1.0, rates, 0.5)
    np.testing.assert_allclose(jax.jit(parameter_norm_bounds)(1.0, rates[2:], 0.5), [2.25])
