"""Matrices of no size, which are passed on, and of complex numbers, which are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geometry import EUCLIDEAN, SIGN, SPECTRAL, nuclear_rank
from geometry.orthonormal import polar_columns, range_basis, signed_qr
from optim import dion, muon, orth_dion, spectral_descent

METHODS = {
    "muon": muon,
    "spectral_descent": spectral_descent,
    "svd": lambda rate: muon(rate, polar="svd", scale="fan_ratio"),
    "dion": dion,
    "orth_dion": orth_dion,
    "polar": lambda rate: orth_dion(rate, right="polar"),
}
EMPTY = ((0, 8), (8, 0), (3, 3, 2, 0))


@pytest.mark.parametrize("method", ["muon", "svd", "dion", "orth_dion"])
def test_matrices_of_no_size_change_no_other_leaf(method):
    gradients = {"full": {"kernel": np.float32(np.random.default_rng(0).normal(size=(8, 6)))}}
    empty = {f"conv_{n}": {"kernel": np.zeros(shape, np.float32)} for n, shape in enumerate(EMPTY)}
    with_empty = {**gradients, **empty}
    tx, adam = METHODS[method](0.1), optax.adam(0.1)
    update = jax.jit(lambda gradients: tx.update(gradients, tx.init(gradients), gradients)[0])
    updates, single = update(with_empty), update(gradients)
    np.testing.assert_array_equal(updates.pop("full")["kernel"], single["full"]["kernel"])
    expected = jax.jit(lambda gradients: adam.update(gradients, adam.init(gradients))[0])(with_empty)
    jax.tree.map(np.testing.assert_array_equal, updates, {leaf: expected[leaf] for leaf in updates})


def test_what_is_measured_of_nothing_is_zero():
    def measured(x):
        geometries = EUCLIDEAN, SIGN, SPECTRAL
        sizes = [nuclear_rank(x), *(size(x) for g in geometries for size in (g.norm, g.dual))]
        return sizes, [g.direction(x) for g in geometries]

    for shape in (*EMPTY[:2], (0, 3, 2)):
        sizes, directions = jax.jit(measured)(np.zeros(shape, np.float32))
        assert not any(np.any(size) for size in sizes)
        assert all(direction.shape == shape for direction in directions)
    for shape in ((1, 8, 0), (0, 3, 2)):
        for function in (range_basis, signed_qr, polar_columns):
            assert jax.jit(function)(np.zeros(shape, np.float32)).shape == shape


@pytest.mark.parametrize("method", METHODS)
def test_complex_matrices_are_refused_by_name(method):
    params = {"mlp": {"kernel": jnp.ones((3, 4), jnp.complex64)}}
    with pytest.raises(TypeError, match=r"mlp/kernel: .* real floating dtype, got complex64"):
        METHODS[method](0.1).init(params)
