"""The rank of low-rank spectral descent and its random start."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim import scale_by_dion


def start_of(state, leaf="w"):
    return np.asarray(state.warm_starts[leaf][0][0])


@pytest.mark.parametrize("fraction", ["1", "0.25", "0.1", "0.3", "0.01"])
@pytest.mark.parametrize("multiple", [1, 4])
def test_the_rank_is_the_fraction_of_the_smaller_side_rounded_up(fraction, multiple):
    tx = scale_by_dion(rank_fraction=float(fraction), rank_multiple=multiple)
    for sides in ((30, 40), (40, 10), (3, 50)):
        exact = Fraction(fraction) * min(sides)
        expected = min(*sides, multiple * -(-exact // multiple))
        state = jax.eval_shape(tx.init, {"w": jax.ShapeDtypeStruct(sides, jnp.float32)})
        assert state.warm_starts["w"][0].shape == (1, max(sides), expected)


def test_a_given_rank_is_cut_to_the_smaller_side():
    state = scale_by_dion(rank=5).init({"a": jnp.zeros((9, 7)), "b": jnp.zeros((3, 8))})
    assert [state.warm_starts[leaf][0].shape for leaf in "ab"] == [(1, 9, 5), (1, 8, 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be a count of at least 1, got 0"),
        ({"rank_fraction": 0.0}, r"rank_fraction must be in \(0, 1\], got 0.0"),
        ({"rank_fraction": 1.1}, r"rank_fraction must be in \(0, 1\], got 1.1"),
        ({"rank": np.nan}, "rank must be a count of at least 1, got nan"),
        ({"rank": np.array("x")}, "rank must be a count of at least 1, got x"),
        ({"rank_fraction": np.array("x")}, r"rank_fraction must be in \(0, 1\], got x"),
        ({"rank_multiple": 0}, "rank_multiple must be a count of at least 1, got 0"),
        ({"rank_multiple": 1.5}, "rank_multiple must be a count of at least 1, got 1.5"),
        ({"momentum": np.array("x")}, r"momentum must be in \[0, 1\), got x"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"scale": "wide"}, "scale must be one of .* got 'wide'"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        scale_by_dion(**options)


def test_the_start_is_orthonormal_and_depends_on_path_and_seed_alone():
    def starts(seed, *leaves):
        state = scale_by_dion(rank=3, seed=seed).init({leaf: jnp.ones((6, 9)) for leaf in leaves})
        return [start_of(state, leaf) for leaf in leaves]

    (single,), (_, neighbour, other) = starts(0, "m"), starts(0, "a", "m", "z")
    np.testing.assert_array_equal(neighbour, single)
    np.testing.assert_allclose(single.T @ single, np.eye(3), atol=1e-6)
    for different in (other, starts(1, "m")[0]):
        assert np.linalg.norm(different.T @ single, 2) < 0.999  # not even the same span
