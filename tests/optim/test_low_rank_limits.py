"""Low-rank spectral descent at its limits: fixed, flat, empty, huge and turned buffers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.low_rank import _right_factor
from tests.optim.low_rank_steps import EXACT, RIGHTS, dion_of, normal, one_matrix, polar_factor, signed_q

pytestmark = pytest.mark.xdist_group("low_rank")


def with_spectrum(seed, rows, columns, values):
    """A matrix of these singular values, with random singular vectors."""
    left, right = signed_q(normal(seed, rows, len(values))), signed_q(normal(seed + 1, columns, len(values)))
    return left * np.asarray(values) @ right.T


# a gap of 10 behind the third singular value, gaps of 2 above: 40 steps gain 4⁻⁴⁰ on the slowest
GAPPED = with_spectrum(3, 6, 9, [9.0, 4.0, 2.0, 0.2, 0.1, 0.05])


def with_fixed_buffer(right, matrix, state=None, steps=40):
    """The last (update, state) when every step finds the same buffer."""
    state = dion_of(right).init({"w": matrix}) if state is None else state
    for _ in range(steps):
        state = state._replace(buffers={"w": matrix})
        ((update, state),) = one_matrix(dion_of(right), [np.zeros_like(matrix)], state)
    return update, state


def start_of(state, leaf="w"):
    return np.asarray(state.warm_starts[leaf][0][0])


def assert_orthonormal(v, atol):
    np.testing.assert_allclose(v.T @ v, np.eye(v.shape[1]), atol=atol)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("right", RIGHTS)
def test_a_fixed_buffer_leads_to_its_leading_polar_factor(right):
    update, _ = with_fixed_buffer(right, GAPPED)
    np.testing.assert_allclose(update, polar_factor(GAPPED, 3), atol=1e-13)


@pytest.mark.parametrize(("right", "expected"), [("normalize", 2.0), ("qr", 1.0), ("polar", 1.0)])
def test_collinear_columns_inflate_dion_alone(right, expected):
    r = np.float32(np.outer(normal(0, 9), [1.0, 2.0, 0.5, 3.0]))[None]
    left = signed_q(normal(1, 6, 4))
    v = np.float64(jax.jit(_right_factor, static_argnums=0)(right, r, np.zeros_like(r)))[0]
    assert np.linalg.norm(left @ v.T, 2) == pytest.approx(expected, abs=1e-5)  # √r for r = 4
    assert np.linalg.norm(v) == pytest.approx(2, abs=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("right", RIGHTS)
def test_a_zero_buffer_gives_a_zero_update_and_keeps_the_start(right):
    start = start_of(dion_of(right).init({"w": np.zeros((6, 9))}))
    ((update, state),) = one_matrix(dion_of(right), [np.zeros((6, 9))])
    np.testing.assert_array_equal(update, np.zeros((6, 9)))
    np.testing.assert_array_equal(start_of(state), start)
    np.testing.assert_array_equal(state.buffers["w"], np.zeros((6, 9)))


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 2e-5), ("float64", EXACT)])
@pytest.mark.parametrize("right", RIGHTS)
def test_a_buffer_of_rank_one_gives_a_partial_isometry(right, dtype, atol):
    flat = np.outer(normal(0, 6), normal(1, 9)).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        for update, state in one_matrix(dion_of(right), [flat] * 5):
            np.testing.assert_allclose(update, polar_factor(flat, 1), atol=atol)
            if right != "normalize":
                assert_orthonormal(start_of(state), atol)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("right", RIGHTS)
def test_a_buffer_of_rank_one_leaves_no_direction_dead(right):
    flat = np.outer(normal(0, 6), normal(1, 9))
    ((_, state),) = one_matrix(dion_of(right), [flat])
    ((update, state),) = one_matrix(dion_of(right), [GAPPED], state)
    values = np.linalg.svd(update)[1]
    assert np.linalg.norm(update) == pytest.approx(np.sqrt(3), abs=EXACT)
    assert values[2] > 0.1 if right == "normalize" else values[2] == pytest.approx(1, abs=EXACT)
    update, _ = with_fixed_buffer(right, GAPPED, state)
    np.testing.assert_allclose(update, polar_factor(GAPPED, 3), atol=1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("right", "steps"), [("polar", 1), ("qr", 40)])
def test_a_buffer_of_rank_two_gives_its_polar_factor_at_rank_three(right, steps):
    flat = with_spectrum(5, 6, 9, [2.0, 1.0])
    update, state = with_fixed_buffer(right, flat, steps=steps)
    np.testing.assert_allclose(update, polar_factor(flat, 2), atol=EXACT)
    assert_orthonormal(start_of(state), EXACT)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("right", RIGHTS)
def test_transposed_and_rotated_matrices_give_transposed_and_rotated_updates(right):
    gradients, start = [normal(t, 6, 9) for t in range(3)], signed_q(normal(8, 9, 3))
    rotation, turn = signed_q(normal(9, 6, 6)), signed_q(normal(10, 9, 9))

    def last_update(gradients, start):
        state = dion_of(right).init({"w": gradients[0]})._replace(warm_starts={"w": (start[None],)})
        return one_matrix(dion_of(right), gradients, state)[-1][0]

    update = last_update(gradients, start)
    np.testing.assert_allclose(last_update([g.T for g in gradients], start).T, update, atol=EXACT)
    rotated = last_update([rotation @ g @ turn for g in gradients], turn.T @ start)
    np.testing.assert_allclose(rotated, rotation @ update @ turn, atol=EXACT)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("right", RIGHTS)
def test_many_of_the_largest_gradients_stay_finite(right, dtype):
    # a thousandth below the largest float32, heavy-ball momentum would sum up to ten times as much
    tx, largest = dion_of(right), np.full((6, 9), 3.3e38, dtype)
    state = tx.init({"w": largest})
    for _ in range(20):
        updates, state = tx.update({"w": largest}, state)
    np.testing.assert_allclose(np.float32(updates["w"]), (6 * 9) ** -0.5, rtol=2**-8)


@pytest.mark.parametrize("right", RIGHTS)
def test_the_scale_of_gradients_does_not_matter(right):
    gradients = [np.float32(normal(t, 6, 9)) for t in range(3)]
    update = one_matrix(dion_of(right), gradients)[-1][0]
    for factor in np.float32([1e38, 1e30, 1e-30]):
        scaled = one_matrix(dion_of(right), [factor * g for g in gradients])[-1][0]
        np.testing.assert_allclose(scaled, update, atol=2e-5)
