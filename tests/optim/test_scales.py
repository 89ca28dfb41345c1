"""The shape scales: their closed forms, and what they make of an orthogonal update."""

import math

import jax
import numpy as np
import pytest

from geometry import PLAIN, MatrixView
from optim import SHAPE_SCALES, Route, Routing, scale_by_polar, shape_scales

WIDE, TALL, SQUARE = (4, 16), (16, 4), (5, 5)
SHAPES = (WIDE, TALL, SQUARE)


def update_of(shape, scale, view=PLAIN):
    gradient = np.random.default_rng(sum(shape)).normal(size=shape)
    tx = scale_by_polar("svd", scale=scale, routing=Routing(lambda path, shape: Route("hidden", view)))
    updates = jax.jit(lambda g: tx.update(g, tx.init(g))[0])({"kernel": np.float32(gradient)})
    return np.asarray(updates["kernel"], np.float64)


@pytest.mark.parametrize(
    ("name", "wide", "tall", "square"),
    [
        ("width", 2, 1, 1),
        ("rms", 0.8, 0.8, 0.2 * math.sqrt(5)),
        ("fan_ratio", 2, 0.5, 1),
        (None, 1, 1, 1),
    ],
)
def test_scales_of_matrices_of_fan_in_by_fan_out(name, wide, tall, square):
    for shape, expected in zip(SHAPES, (wide, tall, square), strict=True):
        assert shape_scales(name, PLAIN, shape) == pytest.approx((expected,), rel=1e-15)


def test_every_block_has_the_scale_of_its_own_size_and_matrices_of_a_batch_theirs():
    fused = MatrixView((0,), (1,), blocks=(16, 4, 1))
    assert shape_scales("width", fused, (4, 21)) == pytest.approx((2, 1, 1), rel=1e-15)
    assert shape_scales("fan_ratio", fused, (4, 21)) == pytest.approx((2, 1, 0.5), rel=1e-15)
    assert shape_scales(None, fused, (4, 21)) == (1, 1, 1)
    convolution, heads = MatrixView((0, 1, 2), (3,)), MatrixView((0,), (2,), batch=(1,))
    assert shape_scales("fan_ratio", convolution, (3, 3, 4, 9)) == pytest.approx((0.5,), rel=1e-15)
    assert shape_scales("fan_ratio", heads, (4, 7, 9)) == pytest.approx((1.5,), rel=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_rms_makes_the_root_mean_square_of_an_orthogonal_update_a_fifth(shape):
    update = update_of(shape, "rms")
    np.testing.assert_allclose(np.sqrt(np.mean(update**2)), 0.2, rtol=1e-5)  # of a float32 SVD


@pytest.mark.parametrize(
    ("scale", "shape", "norm"),
    [
        ("width", WIDE, 2),
        ("width", TALL, 1),
        ("fan_ratio", WIDE, 2),
        ("fan_ratio", TALL, 0.5),
        (None, WIDE, 1),
    ],
)
def test_singular_values_of_an_update_are_the_scale(scale, shape, norm):
    values = np.linalg.svd(update_of(shape, scale), compute_uv=False)
    np.testing.assert_allclose(values, np.full(4, norm), rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_fan_ratio_makes_inputs_of_size_one_outputs_of_at_most_size_one(shape):
    # √(out/in) times a spectral norm of 1 maps root mean squares to root mean squares
    update = update_of(shape, "fan_ratio")
    _, _, vt = np.linalg.svd(update.T)  # y = xW
    x = vt[0] * math.sqrt(shape[0])
    np.testing.assert_allclose(np.sqrt(np.mean((x @ update) ** 2)), 1, rtol=1e-5)


def test_blocks_of_an_update_are_scaled_apart():
    update = update_of((4, 20), "width", MatrixView((0,), (1,), blocks=(16, 4)))
    for block, norm in ((update[:, :16], 2), (update[:, 16:], 1)):
        np.testing.assert_allclose(np.linalg.svd(block, compute_uv=False), np.full(4, norm), rtol=1e-5)


def test_the_names_are_those_of_the_specification():
    assert set(SHAPE_SCALES) == {"width", "rms", "fan_ratio"}
