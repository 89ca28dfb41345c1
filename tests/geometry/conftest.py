"""What the tests of the geometry share: matrices of known singular values and NumPy's polar factor."""

import functools

import jax
import numpy as np
import pytest

from geometry import polar


@functools.cache
def _singular_vectors(rank, rows, columns, seed):
    rng = np.random.default_rng(seed)
    return tuple(np.linalg.qr(rng.standard_normal((side, rank)))[0] for side in (rows, columns))


def _of_spectrum(singular_values, rows, columns, seed=0):
    left, right = _singular_vectors(len(singular_values), rows, columns, seed)
    return left * np.asarray(singular_values) @ right.T


def _numpy_polar(x):
    u, _, vt = np.linalg.svd(np.asarray(x, np.float64), full_matrices=False)
    return u @ vt


@pytest.fixture(scope="session")
def of_spectrum():
    """(singular values, rows, columns, seed) → a float64 matrix of random singular vectors."""
    return _of_spectrum


@pytest.fixture(scope="session")
def numpy_polar():
    """The polar factor of matrices of full rank, by NumPy's SVD in float64."""
    return _numpy_polar


@pytest.fixture(scope="session")
def jit_polar():
    """`polar`, compiled once for each shape and method, and quickly rather than well."""
    return jax.jit(polar, static_argnums=1, compiler_options={"xla_backend_optimization_level": 0})
