"""Newton–Schulz and Polar Express against their recursion on singular values and the published numbers."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax.contrib import _muon

from geometry import NewtonSchulz, PolarExpress, polar

STANDARD = (3.4445, -4.7750, 2.0315)
# five different steps, from optax
DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
# arXiv:2505.16932, before the safety scaling
AMSEL = (
    (8.287212, -23.595887, 17.300387),
    (4.107059, -2.947850, 0.544843),
    (3.948691, -2.908902, 0.551819),
    (3.318420, -2.488488, 0.510049),
    (2.300652, -1.668904, 0.418807),
    (1.891301, -1.267996, 0.376804),
    (1.875001, -1.250002, 0.375000),
    (1.875, -1.25, 0.375),
)


def recursion(values, triples, steps):
    lasting = itertools.chain(triples, itertools.repeat(triples[-1]))
    for a, b, c in itertools.islice(lasting, steps):
        values = a * values + b * values**3 + c * values**5
    return values


def check_recursion(method_of, steps, expected_of, rows, columns, of_spectrum):
    """In float64, singular vectors stay and values become what `expected_of` says, after each of `steps`."""
    values = np.logspace(0, -3, 8)
    with jax.enable_x64(True):
        x = jnp.asarray(5 * of_spectrum(values, rows, columns))
        # in one go, in which the compiler shares the first steps
        factors = jax.jit(lambda x: [polar(x, method_of(count)) for count in steps])(x)
    for count, factor in zip(steps, factors, strict=True):
        expected = of_spectrum(expected_of(values / np.linalg.norm(values), count), rows, columns)
        # slopes at zero multiply to at most 5e4 over the steps, and so does the rounding of 2e-16
        np.testing.assert_allclose(factor, expected, rtol=0, atol=1e-10, err_msg=f"{count} steps")


@pytest.mark.parametrize("columns", [4, 9])
def test_published_values_after_five_standard_steps(columns, jit_polar):
    # Frobenius norm 1, so that the normalisation leaves the values as they are
    values = np.array([0.1, 0.01, 0.001])
    x = np.eye(4, columns) * np.append(values, np.sqrt(1 - values @ values))[:, None]
    factor = np.asarray(jit_polar(jnp.asarray(x, jnp.float32), NewtonSchulz()))
    np.testing.assert_allclose(np.diagonal(factor)[:3], [0.7121, 0.6989, 0.4705], rtol=0, atol=5e-5)
    row = jit_polar(jnp.eye(1, columns), NewtonSchulz())
    np.testing.assert_allclose(row[0, 0], 0.6964, rtol=0, atol=5e-5)


# on the Gram side from an aspect of 1.5, where it starts afresh after three steps and after six
@pytest.mark.parametrize(
    ("coefficients", "triples", "rows", "columns"),
    [
        (DION, DION, 8, 11),
        (DION, DION, 8, 12),
        (DION, DION, 30, 8),
        ("standard", [STANDARD], 8, 8),
        ("convergent", [(15 / 8, -10 / 8, 3 / 8)], 8, 8),
    ],
)
def test_newton_schulz_is_its_polynomials(coefficients, triples, rows, columns, of_spectrum):
    def method_of(steps):
        return NewtonSchulz(steps=steps, coefficients=coefficients)

    def expected_of(values, steps):
        return recursion(values, triples, steps)

    check_recursion(method_of, [1, 2, 3, 4, 5, 6, 7], expected_of, rows, columns, of_spectrum)


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (8, 12), (30, 8)])
def test_polar_express_is_the_published_polynomials_scaled_down(rows, columns, of_spectrum):
    safe = [(a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in AMSEL[:-1]]

    def expected_of(values, steps):
        return recursion(values / np.sum(values**8) ** (1 / 8), [*safe, AMSEL[-1]], steps)

    steps = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12]
    check_recursion(PolarExpress, steps, expected_of, rows, columns, of_spectrum)


def flat_but_one(count, smallest):
    return np.append(np.ones(count - 1), smallest)


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (64, 256), (256, 256)])
def test_polar_express_flattens_ill_conditioned_spectra_in_float32(rows, columns, of_spectrum, jit_polar):
    for steps, spectra in (
        (10, [np.logspace(0, -3, rows)]),
        (12, [np.logspace(0, -4, rows)]),
        (15, [flat_but_one(rows, 1e-3), flat_but_one(rows, 1e-4)]),
    ):
        for values in spectra:
            x = jnp.asarray(of_spectrum(values, rows, columns), jnp.float32)
            factor = np.asarray(jit_polar(x, PolarExpress(steps=steps)), np.float64)
            reached = np.sqrt(np.linalg.eigvalsh(factor @ factor.T))
            assert 0.97 <= reached.min() <= reached.max() <= 1.03, f"{values} after {steps} steps"


def test_optax_by_default_does_not(of_spectrum, jit_polar):
    x = jnp.asarray(of_spectrum(np.logspace(0, -4, 64), 64, 64), jnp.float32)
    optaxs = np.asarray(jax.jit(_muon.orthogonalize_via_newton_schulz)(x, jnp.asarray(STANDARD)))
    reached = np.linalg.svd(optaxs, compute_uv=False)
    np.testing.assert_allclose(reached.min(), 0.024, rtol=0, atol=5e-4)  # the number of the specification
    assert reached.max() > 1.03
    # the same five steps: slopes at zero multiply to 485, and so do float32's roundings of 6e-8
    np.testing.assert_allclose(jit_polar(x, NewtonSchulz()), optaxs, rtol=0, atol=5e-5)


@pytest.mark.parametrize("kind", [NewtonSchulz, PolarExpress])
@pytest.mark.parametrize("steps", [0, -3])
def test_at_least_one_step(kind, steps):
    with pytest.raises(ValueError, match=f"steps must be at least 1, got {steps}"):
        kind(steps=steps)


def test_unknown_preset_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"one of \['standard', 'convergent'\], got 'cubic'"):
        NewtonSchulz(coefficients="cubic")


@pytest.mark.parametrize(
    "coefficients", [(), STANDARD, ((1.5, -0.5),), ((*STANDARD, 0.0),), (STANDARD, (1.5, -0.5))]
)
def test_malformed_coefficients_are_refused(coefficients):
    without_type_checks = inspect.unwrap(NewtonSchulz.__init__)  # those of the test run
    with pytest.raises(ValueError, match=r"coefficients must be triples \(a, b, c\), got \("):
        without_type_checks(object.__new__(NewtonSchulz), coefficients=coefficients)
