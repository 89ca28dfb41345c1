"""Recorded singular values against those that matrices are built with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry import NewtonSchulz
from optim import record_spectrum


def matrix(sigma, columns, seed):
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.normal(size=(len(sigma), len(sigma))))
    v, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    return jnp.asarray(u * sigma @ v[: len(sigma)], jnp.float32)


def scalar_iteration(sigma, steps):
    """The convergent coefficients on σ over the Frobenius norm of all."""
    x = sigma / np.linalg.norm(sigma)
    for _ in range(steps):
        x = 1.875 * x - 1.25 * x**3 + 0.375 * x**5
    return x


EVEN, STEEP = np.array([4.0, 3.0, 2.0]), np.array([2.0, 1.0, 1e-3])


def test_singular_values_and_what_the_steps_make_of_them():
    gradients = {"even": {"kernel": matrix(EVEN, 5, 0)}, "steep": {"kernel": matrix(STEEP, 3, 1).T}}
    tx = record_spectrum(2, NewtonSchulz(4, "convergent"))
    state, update = tx.init(gradients), jax.jit(tx.update)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state))
    passed, first = update(gradients, state)
    jax.tree.map(np.testing.assert_array_equal, passed, gradients)
    for name, sigma in (("even", EVEN), ("steep", STEEP)):
        (found,), (reached,) = first.singular_values[f"{name}/kernel"], first.reached[f"{name}/kernel"]
        np.testing.assert_allclose(found[0], sigma / sigma[0], rtol=1e-4)
        np.testing.assert_allclose(reached[0], scalar_iteration(sigma, 4), rtol=1e-3)
    assert {path: bool(flag) for path, flag in first.insufficient().items()} == {
        "even/kernel": False,
        "steep/kernel": True,
    }
    doubled = jax.tree.map(jnp.zeros_like, gradients)
    _, second = update(doubled, first)  # between two measurements
    jax.tree.map(np.testing.assert_array_equal, second[1:], first[1:])
    _, third = update(doubled, second)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(third[1:]))
    assert not any(third.insufficient().values())


def test_every_is_a_count():
    with pytest.raises(ValueError, match=r"every must be in \[1, inf\), got 0"):
        record_spectrum(0)
