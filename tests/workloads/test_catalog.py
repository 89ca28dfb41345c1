"""Workloads by name."""

import jax
import numpy as np
import pytest

from workloads import WORKLOADS, load, metric_names
from workloads.linear_regression import LARGEST_DIMENSION, LARGEST_EXPONENT, linear_regression

METRICS = {
    "linear_regression": {"train_loss"},
    "modular_addition": {"train_loss", "train_error", "test_loss", "test_error"},
    "digits": {"train_loss", "train_error", "test_loss", "test_error"},
    "shakespeare": {"train_loss", "train_error", "test_loss", "test_error"},
}
# their metrics: datasets/test_image_workloads.py, test_wikitext103.py
FROM_FILES = {"mnist", "fashion_mnist", "cifar10", "wikitext103"}


def test_the_catalog_holds_these_workloads():
    assert set(WORKLOADS) == {*METRICS, *FROM_FILES}


@pytest.mark.parametrize("name", METRICS)
def test_metric_names_are_what_evaluate_returns(name):
    workload = load(name)
    params = jax.jit(workload.init)(jax.random.key(0))
    evaluated = jax.jit(workload.evaluate)(params, workload.data)
    assert set(evaluated) == METRICS[name]
    assert set(metric_names(workload)) == METRICS[name]
    assert all(np.isfinite(value) and value.shape == () for value in evaluated.values())


def test_options_reach_the_workload():
    loaded = load("linear_regression", dimension=5, exponent=2.0, kernel_seed=3)
    direct = linear_regression(dimension=5, exponent=2.0, kernel_seed=3)
    np.testing.assert_array_equal(loaded.data, direct.data)
    squares = np.sum(np.asarray(loaded.data, np.float64) ** 2, axis=0)  # the spectrum, ∝ 1/k²
    np.testing.assert_allclose(squares / squares[0], 1 / np.arange(1.0, 6) ** 2, rtol=1e-5)


def test_an_unknown_workload_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"linear_regression.*digits.*shakespeare.*got 'mnits'"):
        load("mnits")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear_regression", {"dim": 3}, "dimension.*exponent.*kernel_seed.*got 'dim'"),
        ("digits", {"hidden": 3}, "model.*got 'hidden'"),
        ("shakespeare", {"depth": 3}, "width.*layers.*heads.*context.*got 'depth'"),
        ("digits", {"model": "resnet"}, "cnn.*mlp.*got 'resnet'"),
    ],
)
def test_unknown_options_are_refused_with_the_allowed_ones(name, options, message):
    with pytest.raises(ValueError, match=message):
        load(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear_regression", {"dimension": 8.5}, "dimension must be a whole number, got 8.5"),
        ("linear_regression", {"exponent": "steep"}, "exponent must be a number, got 'steep'"),
        ("linear_regression", {"dimension": 46_341}, r"dimension must be in \[2, 46340\], got 46341"),
        ("linear_regression", {"exponent": float("nan")}, r"exponent must be in \[0, 6.0\], got nan"),
        (
            "linear_regression",
            {"kernel_seed": 2**32},
            r"kernel_seed must be in \[0, 4294967295\], got 4294967296",
        ),
        ("digits", {"model": 3}, "model must be text, got 3"),
        ("mnist", {"folder": 7}, "folder must be text, got 7"),
        ("shakespeare", {"layers": 0.5}, "layers must be a whole number, got 0.5"),
        ("shakespeare", {"layers": 1001}, r"layers must be in \[1, 1000\], got 1001"),
    ],
)
def test_options_of_no_sense_are_refused_before_anything_is_loaded(name, options, message):
    with pytest.raises(ValueError, match=message):
        load(name, **options)


def test_the_steepest_spectrum_of_the_largest_dimension_is_a_float32():
    least = np.float32(LARGEST_DIMENSION) ** np.float32(-LARGEST_EXPONENT)
    assert np.finfo(np.float32).tiny < least / 2  # the eigenvalues' sum, which divides them, is below 2
