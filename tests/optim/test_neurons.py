"""NorMuon's second moments, against a loop in NumPy."""

import jax
import numpy as np
import optax
import pytest

from optim import scale_by_neuron_rms, scale_by_polar

BETA, EPS = 0.8, 1e-3


def test_each_neuron_is_divided_by_its_root_mean_square_and_the_norm_kept(draw):
    with jax.enable_x64(True):
        params, gradients = draw({"query": {"kernel": (6, 2, 3)}, "up": {"kernel": (6, 5)}}, 4, dtype=float)
        tx = scale_by_neuron_rms(BETA, eps=EPS)
        state, squares = jax.jit(tx.init)(params), {"query": np.zeros(6), "up": np.zeros(5)}
        update = jax.jit(tx.update)
        for gradient in gradients:
            updates, state = update(gradient, state)
            for name, square in squares.items():
                matrix = gradient[name]["kernel"].reshape(6, -1)
                even = np.empty_like(matrix)
                for neuron in range(matrix.shape[1]):
                    mean = np.mean(matrix[:, neuron] ** 2)
                    square[neuron] = BETA * square[neuron] + (1 - BETA) * mean
                    even[:, neuron] = matrix[:, neuron] / (np.sqrt(square[neuron]) + EPS)
                even *= np.linalg.norm(matrix) / np.linalg.norm(even)
                np.testing.assert_allclose(
                    updates[name]["kernel"], even.reshape(params[name]["kernel"].shape), rtol=1e-12
                )


def test_behind_the_polar_factor_it_has_the_published_norm(draw):
    """0.2 √(in · out), and after the first step neurons of one length."""
    params, (gradient,) = draw({"dense": {"kernel": (4, 9)}}, 1)
    tx = optax.chain(scale_by_polar("svd", scale="rms"), scale_by_neuron_rms())
    update = jax.jit(lambda g, p: tx.update(g, tx.init(p))[0])(gradient, params)
    lengths = np.linalg.norm(update["dense"]["kernel"], axis=0)
    np.testing.assert_allclose(lengths, np.full(9, 0.2 * np.sqrt(4)), rtol=1e-5)


def test_zeros_stay_and_options_are_checked():
    zeros = {"dense": {"kernel": np.zeros((2, 3), np.float32)}}
    tx = scale_by_neuron_rms(eps=0.1)
    updates = jax.jit(lambda zeros: tx.update(zeros, tx.init(zeros))[0])(zeros)
    np.testing.assert_array_equal(updates["dense"]["kernel"], np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1"):
        scale_by_neuron_rms(1.0)
