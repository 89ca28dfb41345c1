"""Decompositions of stacks: NumPy's, and on a CPU never of more than one matrix at once."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry import stable_rank
from geometry.decompositions import thin_svd
from geometry.orthonormal import polar_columns, range_basis, signed_qr
from geometry.polar_factor import leading_polar_factor, polar

DECOMPOSED = {
    "polar": lambda x: polar(x, "svd"),
    "leading": lambda x: leading_polar_factor(x, 2),
    "range": range_basis,
    "signed": signed_qr,
    "columns": polar_columns,
    "stable rank": stable_rank,
}


@pytest.mark.parametrize("columns", [3, 0])
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (0,)])
def test_they_are_numpys(batch, columns):
    x = np.random.default_rng(0).normal(size=(*batch, 5, columns)).astype(np.float32)
    u, values, vt = jax.jit(thin_svd)(x)
    assert (u.shape, vt.shape) == ((*batch, 5, columns), (*batch, columns, columns))
    np.testing.assert_allclose(values, np.linalg.svd(x, compute_uv=False), rtol=1e-5)
    np.testing.assert_allclose((u * values[..., None, :]) @ vt, x, atol=1e-5)


@pytest.mark.parametrize("name", DECOMPOSED)
def test_no_stack_is_shared_out_over_threads_that_may_wait_for_ever(name):
    stack = jax.ShapeDtypeStruct((4, 64, 32), jnp.float32)
    text = jax.jit(DECOMPOSED[name]).trace(stack).lower(lowering_platforms=("cpu",)).as_text()
    calls = re.findall(
        r"custom_call @lapack_s(gesdd|geqrf|orgqr|syevd)_ffi\(.*: \(tensor<([0-9x]*)xf32>", text
    )
    assert calls
    assert all(len(shape.split("x")) == 2 for _, shape in calls), calls
