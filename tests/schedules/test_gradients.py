"""Gradients: finite over the whole domain in float32, and right at smooth points in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schedules import FAMILIES
from schedules.family import OPTIONS
from tests.schedules.conftest import EXAMPLES

POINTS = 32
X = np.arange(POINTS) / POINTS
CASES = (
    [(name, {}) for name in FAMILIES]
    + [("constant", {"warmup_form": form}) for form in OPTIONS["warmup_form"][1:]]
    + [("wsd", {"decay_form": form}) for form in OPTIONS["decay_form"][1:]]
)


@functools.cache
def _compiled(family):
    return jax.jit(jax.vmap(jax.grad(lambda params, x: jnp.mean(family.curve_at(x, params)))))


def gradients(family, params, x):
    """Of the curves' means over the points x: in reverse mode an infinity at any point spoils it."""
    examples = np.size(next(iter(params.values())))
    params = {name: np.resize(np.float32(values), EXAMPLES) for name, values in params.items()}
    found = _compiled(family)(params, np.broadcast_to(np.float32(x), (EXAMPLES, POINTS)))
    return {name: np.asarray(gradient)[:examples] for name, gradient in found.items()}


def assert_all_finite(gradients, params):
    for name, gradient in gradients.items():
        for number in np.flatnonzero(~np.isfinite(gradient))[:1]:
            example = {p: np.ravel(values)[number] for p, values in params.items()}
            pytest.fail(f"gradient in {name} at {example}")


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_gradients_are_finite_over_the_whole_domain(name, options, anywhere, family_of):
    family = family_of(name, options)
    assert_all_finite(gradients(family, anywhere(family), X), anywhere(family))


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_of_the_rate_held_after_the_horizon_are_finite(name, anywhere, family_of):
    family = family_of(name, {})
    assert_all_finite(gradients(family, anywhere(family), 1.0), anywhere(family))


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_finite_where_every_parameter_is_zero_or_nearly(name):
    family = FAMILIES[name]
    params = {p: 0.0 if 0.0 in interval else 1e-30 for p, interval in family.domain.items()}
    assert_all_finite(gradients(family, params, X), params)


@pytest.mark.parametrize("exponent", [0.2, 0.4, 1.0])
@pytest.mark.parametrize("x", [0.25, 0.25 + 2**-20, 0.5, 0.5 + 2**-20, 1.0])
def test_gradients_of_hold_power_are_finite_where_its_decay_begins(x, exponent):
    for hold in (0.0, 1 / 3):  # from u = 0, or from x = 1/2
        params = {"warmup": 0.25, "hold": hold, "exponent": exponent, "floor": 0.1}
        assert_all_finite(gradients(FAMILIES["hold_power"], params, x), params)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_gradients_equal_central_differences_of_the_reference_in_float64(
    name, options, reference, draw, family_of
):
    family = family_of(name, options)
    x = np.linspace(0.0213, 0.9517, 60)  # away from the ends, where some curves are infinitely steep
    h = 1e-6  # its square and eps / h are both near 1e-10; no kink falls within h of a point at these seeds
    with jax.enable_x64(True):
        jacobian = jax.jit(jax.jacfwd(lambda params, x: family.curve_at(x, params)))
        for seed in range(3):
            params = draw(name, seed)
            ours = jacobian({p: np.float64(value) for p, value in params.items()}, x)
            for p, value in params.items():
                higher, lower = (reference(name, x, {**params, p: value + d}, **options) for d in (h, -h))
                numeric = (higher - lower) / (2 * h)
                scale = 1 + np.abs(numeric).max()
                np.testing.assert_allclose(ours[p], numeric, rtol=1e-5, atol=1e-7 * scale, err_msg=p)


@pytest.mark.parametrize("x", [0.0, 0.1, 0.375])
@pytest.mark.parametrize("name", [name for name in FAMILIES if {"warmup", "x0"} & set(FAMILIES[name].domain)])
def test_the_gradient_in_a_linear_warmup_is_minus_x_over_W_squared(name, x, draw):
    warmup = "warmup" if "warmup" in FAMILIES[name].domain else "x0"
    gradient = gradients(FAMILIES[name], {**draw(name, 1), warmup: 0.5}, x)[warmup]
    np.testing.assert_allclose(gradient, -x / 0.25, rtol=2e-6)
