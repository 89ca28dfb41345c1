"""The best schedules found where the lowest loss is known, and families fitted and projected likewise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from schedules import FAMILIES
from schedules.descent import MINIMISERS
from schedules.fitting import family_starts, fit_family, project
from schedules.optimal import best_schedule, schedule_starts

any_starts = jax.jit(schedule_starts, static_argnums=(0, 1, 2))
starts_of = jax.jit(family_starts, static_argnums=(0, 1, 3))
SPECTRUM = 1 / np.arange(1.0, 11)


def polynomial_loss(spectrum):
    """½ mean of Π(1 - ηλ)²: linear regression on full batches, whose eigen components decay apart."""

    def loss(learning_rates):
        factors = 1 - learning_rates[:, None] * jnp.asarray(spectrum)[None, :]
        return jnp.mean(jnp.prod(factors, axis=0) ** 2) / 2

    return loss


def lowest_polynomial_loss(spectrum, degree):
    """Least squares over polynomials p of that degree with p(0) = 1; the roots must be rates' inverses."""
    powers = spectrum[:, None] ** np.arange(1, degree + 1)
    coefficients = np.linalg.lstsq(powers, -np.ones(len(spectrum)), rcond=None)[0]
    roots = np.roots([*coefficients[::-1], 1])
    assert np.isrealobj(roots)
    assert spectrum.min() <= roots.min()
    assert roots.max() <= spectrum.max()
    return np.mean((1 + powers @ coefficients) ** 2) / 2


def momentum_loss(batch_size, momentum, dimension):
    """An isotropic kernel I/D: the second moments of each component, as a 3 × 3 recursion."""
    curvature = 1 / dimension
    noise = curvature**2 * dimension / batch_size

    def loss(learning_rates):
        z_z, z_m, m_m = 1.0, 0.0, 0.0
        for rate in learning_rates:
            m_m = momentum**2 * m_m + 2 * momentum * curvature * z_m + noise * z_z
            moved = momentum * z_m + curvature * z_z
            z_z, z_m = z_z - 2 * rate * moved + rate**2 * m_m, moved - rate * m_m
        return z_z / 2

    return loss


def found(loss, num_steps, minimisers=("lbfgs",)):
    starts = any_starts(num_steps, (1.0,), 1, jax.random.key(5))
    return best_schedule(loss, starts, 300, {name: MINIMISERS[name] for name in minimisers})


def test_full_batches_reach_the_least_squares_polynomial_by_both_minimisers():
    with jax.enable_x64(True):
        best = found(polynomial_loss(SPECTRUM), 4, MINIMISERS)
    lowest = lowest_polynomial_loss(SPECTRUM, 4)
    assert float(best.best_found.loss) == pytest.approx(lowest, rel=1e-8)
    for minimiser in MINIMISERS:
        own = min(float(end.loss) for (_, name), end in best.found.items() if name == minimiser)
        assert lowest * (1 - 1e-9) < own < lowest * 1.01


def test_full_batches_reach_the_least_squares_polynomial_of_a_higher_degree():
    with jax.enable_x64(True):
        best = found(polynomial_loss(SPECTRUM), 6).best_found
    assert float(best.loss) == pytest.approx(lowest_polynomial_loss(SPECTRUM, 6), rel=1e-6)


def test_full_batches_reach_zero_with_a_step_for_every_eigenvalue():
    with jax.enable_x64(True):
        best = found(polynomial_loss(np.array([1.0, 0.5, 0.2])), 3).best_found
    assert float(best.loss) < 1e-8
    np.testing.assert_allclose(np.sort(best.learning_rates), [1, 2, 5], rtol=1e-2)


def test_an_isotropic_kernel_wants_the_batch_size_at_every_step():
    dimension, batch_size, num_steps = 12, 3, 5
    curvature = 1 / dimension

    def loss(learning_rates):
        noise = learning_rates**2 * curvature**2 * dimension / batch_size
        return jnp.prod(1 - 2 * learning_rates * curvature + noise) / 2

    with jax.enable_x64(True):
        best = found(loss, num_steps).best_found
    assert float(best.loss) == pytest.approx((1 - batch_size / dimension) ** num_steps / 2, rel=1e-8)
    np.testing.assert_allclose(best.learning_rates, np.full(num_steps, 3.0), rtol=1e-3)


def test_momentum_on_an_isotropic_kernel_agrees_with_scipy():
    num_steps = 4
    loss = momentum_loss(batch_size=2, momentum=0.6, dimension=8)
    independent = min(
        minimize(lambda logs: np.log(loss(np.exp(logs))), start, method="Nelder-Mead", options=options).fun
        for start in np.log([np.full(num_steps, 0.5), np.full(num_steps, 2.0)])
        for options in [{"maxiter": 4000, "maxfev": 4000, "xatol": 1e-8, "fatol": 1e-12}]
    )
    with jax.enable_x64(True):
        best = found(loss, num_steps).best_found
    assert float(best.loss) == pytest.approx(np.exp(independent), rel=1e-6)


def test_a_start_that_diverges_is_infinite_and_never_best():
    starts = {"good": jnp.ones(3), "overflowing": jnp.full(3, 1e30)}
    best = best_schedule(lambda rates: jnp.exp(jnp.sum(rates)) - jnp.sum(rates), starts, 40)
    assert {start for start, _ in best.found} == set(starts)
    assert best.best[0] == "good"
    assert float(best.found["overflowing", "lbfgs"].loss) == np.inf


def test_starts_are_what_they_are_called():
    starts = schedule_starts(4, (0.5, 2.0), 2, jax.random.key(0))
    assert list(starts)[:6] == [
        f"{shape} × {scale}" for shape in ("constant", "linear", "cosine") for scale in ("0.5", "2")
    ]
    np.testing.assert_allclose(starts["constant × 2"], [2, 2, 2, 2])
    np.testing.assert_allclose(starts["linear × 0.5"], [0.5, 0.375, 0.25, 0.125], rtol=1e-6)
    np.testing.assert_allclose(starts["cosine × 2"], 1 + np.cos(np.pi * np.arange(4) / 4), rtol=1e-6)
    assert np.all([np.all(np.asarray(rates) > 0) for rates in starts.values()])
    again = schedule_starts(4, (0.5, 2.0), 3, jax.random.key(0))
    np.testing.assert_array_equal(again["perturbed 1"], starts["perturbed 1"])
    assert not np.allclose(again["perturbed 0"], again["perturbed 2"])  # both of scale 0.5
    noise = np.log(schedule_starts(2000, (2.0,), 1, jax.random.key(0))["perturbed 0"] / 2)
    assert [np.mean(noise), np.std(noise)] == pytest.approx([0, 0.3], abs=5 * 0.3 / np.sqrt(2000))


MEMBERS = {
    "two_point_spline": {"x0": 0.1, "y1": 0.7, "dx1": 0.3, "dx2": 0.5, "dy2": 0.4},
    "wsd": {"warmup": 0.1, "decay": 0.4, "floor": 0.1},
}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_is_its_own_projection(name):
    family, base_lr, num_steps = FAMILIES[name], 2.5, 60
    with jax.enable_x64(True):
        target = base_lr * family.multipliers(MEMBERS[name], num_steps)
        starts = starts_of(family, (0.1, 10.0), jax.random.key(1), 4)[:, 1:]
        nearest = project(family, target, starts, 120)
    assert nearest.value < 1e-4
    assert nearest.base_lr == pytest.approx(base_lr, rel=1e-3)
    for parameter, value in MEMBERS[name].items():
        assert nearest.params[parameter] == pytest.approx(value, abs=2e-3), parameter


def test_a_projection_is_orthogonal_and_as_near_as_a_grid_finds():
    target, num_steps = np.exp(-3 * np.arange(40) / 40) + 0.2, 40
    with jax.enable_x64(True):
        starts = starts_of(FAMILIES["power"], (0.1, 10.0), jax.random.key(1), 4)[:, 1:]
        nearest = project(FAMILIES["power"], jnp.asarray(target), starts, 120)
    rest = target - np.asarray(nearest.learning_rates)
    assert np.dot(rest, nearest.learning_rates) == pytest.approx(0, abs=1e-9)
    assert nearest.value == pytest.approx(np.linalg.norm(rest) / np.linalg.norm(target), rel=1e-9)
    x, distances = np.arange(num_steps) / num_steps, []
    for warmup, exponent in itertools.product([0.0, 0.03, 0.1], np.geomspace(0.1, 5, 400)):
        decay = ((1 - x) / (1 - warmup)) ** exponent
        shape = np.where(x < warmup, x / max(warmup, 1e-9), decay)
        residual = target - np.dot(target, shape) / np.dot(shape, shape) * shape
        distances.append(np.linalg.norm(residual) / np.linalg.norm(target))
    assert nearest.value <= min(distances)
    assert nearest.value == pytest.approx(min(distances), rel=1e-3)


def test_a_family_is_fitted_to_a_loss_that_one_of_its_members_minimises():
    family, params, num_steps = FAMILIES["wsd"], MEMBERS["wsd"], 50
    with jax.enable_x64(True):
        ideal = 0.8 * family.multipliers(params, num_steps)
        starts = starts_of(family, (0.05, 5.0), jax.random.key(2), 4)
        fit = fit_family(family, lambda rates: 1e-3 + jnp.sum((rates - ideal) ** 2), starts, num_steps, 120)
    assert fit.value == pytest.approx(1e-3, rel=1e-3)
    assert fit.base_lr == pytest.approx(0.8, rel=1e-2)
    for parameter, value in params.items():
        assert fit.params[parameter] == pytest.approx(value, abs=1e-2), parameter
    np.testing.assert_allclose(
        fit.learning_rates, fit.base_lr * np.asarray(family.multipliers(fit.params, num_steps)), rtol=1e-4
    )


def test_family_starts_lie_in_the_space_half_of_them_without_warm_up():
    starts = np.asarray(starts_of(FAMILIES["wsd"], (0.1, 2.0), jax.random.key(0), 6))
    assert starts.shape == (6, 4)
    assert np.all((np.log(0.1) <= starts[:, 0]) & (starts[:, 0] <= np.log(2.0)))
    assert list(starts[:, 1] == 0) == [True, False] * 3
    assert np.all((starts[:, 2:] > 0) & (starts[:, 2:] < np.pi))
