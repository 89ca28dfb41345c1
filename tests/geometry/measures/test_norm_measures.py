"""Margins, path norm and kernel norms: definitions by hand, and under which rescaling they stay."""

import functools
import itertools

import jax
import numpy as np
import pytest

from geometry.measures import kernel_norms, margins, path_norm
from geometry.measures.kernels import log_product


def two_layers(params, inputs):
    hidden = jax.nn.relu(inputs @ params["in"]["kernel"] + params["in"]["bias"][None])
    return hidden @ params["out"]["kernel"] + params["out"]["bias"][None]


def random_params(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"in": (4, 5), "out": (5, 3)}
    return {
        name: {"kernel": np.float32(rng.normal(size=shape)), "bias": np.float32(rng.normal(size=shape[1]))}
        for name, shape in shapes.items()
    }


def rescaled(params, factors):
    """The same function: what enters each hidden unit times its factor, what leaves it divided by it."""
    factors = np.float32(factors)[None]
    entering, leaving = params["in"], params["out"]
    return {
        "in": {"kernel": entering["kernel"] * factors, "bias": entering["bias"] * factors[0]},
        "out": {"kernel": leaving["kernel"] / factors.T, "bias": leaving["bias"]},
    }


outputs, path_norm_of, norms_of = (
    jax.jit(function) for function in (two_layers, functools.partial(path_norm, two_layers), kernel_norms)
)
UNITS, LAYERS = [0.5, 2.0, 3.0, 1.0, 0.1], [2.5] * 5


def test_the_path_norm_is_the_sum_over_paths():
    params = jax.tree.map(np.float64, random_params())
    first, second = params["in"], params["out"]
    paths = [
        (first["kernel"][i, j] * second["kernel"][j, k]) ** 2
        for i, j, k in itertools.product(range(4), range(5), range(3))
    ]
    paths += [
        (first["bias"][j] * second["kernel"][j, k]) ** 2 for j, k in itertools.product(range(5), range(3))
    ]
    paths += [bias**2 for bias in second["bias"]]
    found = path_norm_of(random_params(), np.zeros((1, 4), np.float32))
    assert float(found) == pytest.approx(sum(paths), rel=1e-5)


@pytest.mark.parametrize("factors", [UNITS, LAYERS])
def test_no_rescaling_that_keeps_the_function_changes_the_path_norm(factors):
    params, inputs = random_params(), np.float32(np.random.default_rng(2).normal(size=(7, 4)))
    same = rescaled(params, factors)
    np.testing.assert_allclose(outputs(same, inputs), outputs(params, inputs), rtol=1e-4, atol=1e-5)
    assert float(path_norm_of(same, inputs[:1])) == pytest.approx(
        float(path_norm_of(params, inputs[:1])), rel=1e-5
    )


def test_products_of_norms_stay_under_rescaling_of_layers_and_not_of_units():
    products = {
        name: [float(log_product(norms)) for norms in norms_of(rescaled(random_params(), factors))]
        for name, factors in {"plain": [1.0] * 5, "layers": LAYERS, "units": UNITS}.items()
    }
    assert products["layers"] == pytest.approx(products["plain"], rel=1e-5)
    assert np.all(np.abs(np.subtract(products["units"], products["plain"])) > 0.1)


def test_convolutions_are_matrices_of_fan_in_times_fan_out():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 2, 5)).astype(np.float32)
    found = norms_of({"kernel": kernel, "bias": np.ones(5, np.float32)})
    assert float(found.spectral[0]) == pytest.approx(np.linalg.norm(kernel.reshape(18, 5), 2), rel=1e-5)
    assert float(found.frobenius[0]) == pytest.approx(np.linalg.norm(kernel), rel=1e-5)


def test_a_margin_is_negative_where_another_class_is_above():
    logits = np.float32([[1.0, 4.0, 2.5], [1.0, 4.0, 2.5], [-1.0, -1.0, -5.0]])
    np.testing.assert_allclose(jax.jit(margins)(logits, np.array([1, 2, 0])), [1.5, -1.5, 0.0])
