"""Functions of matrices over stacks of them: as apart, in any number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry.matrices import over_stack


@pytest.mark.parametrize("matrices", [0, 1, 3, 65])
@pytest.mark.parametrize("shape", [(2, 3), (64, 65)])
def test_each_matrix_of_a_stack_has_the_value_it_has_alone(matrices, shape):
    rng = np.random.default_rng(0)
    stack = rng.normal(size=(matrices, *shape)).astype(np.float32)
    found = jax.jit(lambda stack: over_stack(lambda x: x @ x.mT, stack))(jnp.asarray(stack))
    expected = np.matmul(stack.astype(np.float64), stack.astype(np.float64).swapaxes(1, 2))
    # rounding of a sum of n products whose magnitudes add up to at most the squared length of a row
    atol = shape[1] * np.finfo(np.float32).eps * np.max(expected, initial=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def test_large_matrices_go_one_beside_the_other_and_not_in_a_loop():
    """A loop takes them in turn, which was slower than leaf by leaf on one processor."""
    squares = jax.jit(lambda stack: over_stack(lambda x: x @ x.mT, stack))
    assert "while" not in squares.lower(jnp.ones((12, 128, 512))).as_text()
