"""The trace of a matrix root against the eigenvalues that the matrix was made of, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry.matrix_root import root_trace

# the first is what the docstring promises, the second what it amounts to in all cases but one
WELL_CONDITIONED, ANY = 1e-5, 3e-4


def singular_values(kind, n, rng):
    return {
        "wishart": lambda: np.linalg.svd(rng.normal(size=(n, 3 * n)), compute_uv=False),
        "condition 1e6": lambda: np.geomspace(1, 1e-3, n),
        "condition 1e8": lambda: np.geomspace(1, 1e-4, n),
        "one ahead of many": lambda: np.array([1, *[1e-4] * (n - 1)]),
        "half rank": lambda: np.arange(n, 0, -1.0) * (np.arange(n) < max(1, n // 2)),
        "rank one": lambda: np.eye(n)[0],
        "zero": lambda: np.zeros(n),
    }[kind]()


def matrices_of(kind, n, count, scale):
    """(matrices, their root traces), with random eigenvectors, in float32."""
    rng = np.random.default_rng(n)
    matrices, traces = [], []
    for _ in range(count):
        values = singular_values(kind, n, rng)
        vectors, _ = np.linalg.qr(rng.normal(size=(n, n)))
        matrices.append(scale * (vectors * values**2) @ vectors.T)
        traces.append(np.sqrt(scale) * np.sum(values))
    return jnp.float32(np.stack(matrices)), np.array(traces)


compiled = jax.jit(root_trace)


@pytest.mark.parametrize("kind", ["wishart", "condition 1e6"])
@pytest.mark.parametrize("n", [1, 5, 70])  # from 64 on, a CPU takes the matrices of a stack one by one
def test_well_conditioned_matrices(kind, n):
    matrices, traces = matrices_of(kind, n, count=2, scale=1)
    np.testing.assert_allclose(compiled(matrices), traces, rtol=WELL_CONDITIONED)


@pytest.mark.parametrize("kind", ["condition 1e8", "half rank", "rank one", "zero"])
@pytest.mark.parametrize("n", [1, 5, 70])
def test_any_other_matrix(kind, n):
    matrices, traces = matrices_of(kind, n, count=2, scale=1)
    np.testing.assert_allclose(compiled(matrices), traces, rtol=ANY)


@pytest.mark.parametrize("n", [5, 70, 300])
def test_the_root_of_each_small_eigenvalue_is_as_near_as_promised(n):
    matrices, traces = matrices_of("one ahead of many", n, count=1, scale=1)
    np.testing.assert_allclose(compiled(matrices), traces, rtol=WELL_CONDITIONED, atol=1e-4 * n)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("kind", ["wishart", "rank one"])
def test_huge_and_tiny_matrices(kind, scale):
    matrices, traces = matrices_of(kind, 5, count=2, scale=scale)
    np.testing.assert_allclose(compiled(matrices), traces, rtol=ANY)


@pytest.mark.parametrize("n", [5, 70])
def test_a_matrix_alone_is_as_in_a_stack(n):
    matrices, traces = matrices_of("wishart", n, count=1, scale=1)
    np.testing.assert_allclose(compiled(matrices), traces, rtol=WELL_CONDITIONED)


def test_matrices_of_a_stack_do_not_mix():
    kinds, scales = ("wishart", "zero", "rank one"), (1e30, 1, 1e-30)
    pairs = [matrices_of(kind, 5, count=1, scale=s) for kind, s in zip(kinds, scales, strict=True)]
    stack, traces = (np.concatenate(column) for column in zip(*pairs, strict=True))
    np.testing.assert_allclose(compiled(jnp.asarray(stack)), traces, rtol=ANY)


def test_float64_is_iterated_in_float64():
    with jax.enable_x64(True):
        root = compiled(jnp.diag(jnp.array([9.0, 4.0, 1e-5]))[None])
    assert root.dtype == np.float64
    # without rounding the stated bias alone is left
    np.testing.assert_allclose(root, 5 + np.sqrt(1e-5), rtol=4e-6)
