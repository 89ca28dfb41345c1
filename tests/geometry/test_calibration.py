"""Calibration errors, the Brier score's parts and temperatures, against NumPy and what is known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry.calibration import (
    brier_score,
    chance_calibration_error,
    equal_mass,
    equal_width,
    expected_calibration_error,
    fitted_temperature,
    negative_log_likelihood,
    top_class,
)

STATIC = ("bins", "edges")
compiled_error, compiled_brier = (
    jax.jit(function, static_argnames=STATIC) for function in (expected_calibration_error, brier_score)
)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def predictions(count=400, classes=4, seed=0):
    """Logits in float64, and labels that agree with them more often than not."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    return 2 * rng.normal(size=(count, classes)) + 2 * np.eye(classes)[labels], labels


def test_a_constant_confidence_misses_the_accuracy_in_any_bins():
    confidences, correct = np.full(1000, 0.75, np.float32), np.arange(1000) % 5 < 3
    for edges in (equal_width, equal_mass):
        assert float(compiled_error(confidences, correct, edges=edges)) == pytest.approx(0.15)


@pytest.mark.parametrize("bins", [1, 15])
def test_the_error_is_numpys_in_bins_of_equal_width_and_of_equal_mass(bins):
    rng = np.random.default_rng(1)
    confidences, correct = rng.uniform(size=300).astype(np.float32), rng.uniform(size=300) < 0.6
    inner = {
        equal_width: np.arange(1, bins) / bins,
        equal_mass: np.quantile(confidences, np.arange(1, bins) / bins),
    }
    for edges, values in inner.items():
        lower, upper = np.array([-np.inf, *values]), np.array([*values, np.inf])
        members = (confidences[:, None] > lower) & (confidences[:, None] <= upper)
        expected = np.sum(np.abs(members.T @ (confidences - correct))) / 300
        found = compiled_error(confidences, correct, bins=bins, edges=edges)
        assert float(found) == pytest.approx(expected, rel=1e-4)


def test_bins_of_equal_mass_hold_equally_many():
    confidences = np.random.default_rng(5).uniform(size=90).astype(np.float32)
    places = np.searchsorted(jax.jit(equal_mass, static_argnums=1)(confidences, 9), confidences)
    np.testing.assert_allclose(np.bincount(places), 10, atol=1)


@pytest.mark.parametrize(
    ("examples", "least", "error", "tolerance"),
    [
        (360, 0.0, 0.064, 1.5e-3),
        (2_000, 0.0, 0.027, 5e-4),
        (50_000, 0.0, 0.0054, 1e-4),
        (360, 0.5, 0.0465, 1.5e-3),
    ],
)
def test_a_perfectly_calibrated_model_of_few_examples_shows_this_error(examples, least, error, tolerance):
    confidences = jnp.asarray(np.linspace(least, 1, examples), jnp.float32)
    found = float(chance_calibration_error(confidences, jax.random.key(examples)))
    assert found == pytest.approx(error, abs=tolerance)


def test_by_chance_is_the_mean_error_of_outcomes_drawn_from_the_confidences():
    confidences = np.random.default_rng(2).beta(4, 1, size=200)
    outcomes = np.random.default_rng(3).uniform(size=(2000, 200)) < confidences
    places = np.ceil(15 * confidences).astype(int) - 1
    excess = np.stack([np.sum((confidences - outcomes)[:, places == bin_], axis=1) for bin_ in range(15)])
    errors = np.sum(np.abs(excess), axis=0) / 200
    found = chance_calibration_error(jnp.asarray(confidences), jax.random.key(0), draws=2000)
    assert abs(float(found) - errors.mean()) < 4 * errors.std() * np.sqrt(2 / 2000)


def test_the_predicted_class_is_the_most_probable_one():
    logits, labels = predictions()
    confidences, correct = top_class(jnp.asarray(softmax(logits)), jnp.asarray(labels))
    np.testing.assert_allclose(confidences, softmax(logits).max(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(correct, logits.argmax(axis=1) == labels)


def test_the_parts_of_the_brier_score_add_up_to_it_whatever_the_bins():
    logits, labels = predictions()
    probabilities = softmax(logits)
    expected = np.mean(np.sum((probabilities - np.eye(4)[labels]) ** 2, axis=1))
    for bins, edges in ((1, equal_width), (15, equal_width), (7, equal_mass)):
        brier = compiled_brier(probabilities, labels, bins=bins, edges=edges)
        total = brier.reliability - brier.resolution + brier.uncertainty + brier.within
        assert float(brier.score) == pytest.approx(expected, rel=1e-5)
        assert float(total) == pytest.approx(expected, rel=1e-5)


def test_with_one_forecast_a_bin_the_parts_are_murphys():
    forecasts = np.repeat([0.1, 0.5, 0.9], 100)  # of the second of two classes
    labels = np.concatenate([np.arange(100) < rain for rain in (20, 50, 80)]).astype(int)
    brier = compiled_brier(np.stack([1 - forecasts, forecasts], axis=1), labels)
    assert [float(part) / 2 for part in brier[1:]] == pytest.approx(
        [2 / 3 * 0.1**2, 2 / 3 * 0.3**2, 0.25, 0], abs=1e-6
    )


def test_the_negative_log_likelihood_is_numpys_and_finite_far_out():
    logits, labels = predictions()
    expected = -np.mean(np.log(softmax(logits)[np.arange(len(labels)), labels]))
    assert float(negative_log_likelihood(jnp.asarray(logits), jnp.asarray(labels))) == pytest.approx(
        expected, rel=1e-5
    )
    assert float(negative_log_likelihood(jnp.array([[0.0, 1e4]]), jnp.array([0]))) == 1e4


@pytest.mark.parametrize("temperature", [0.4, 1.0, 5.0])
def test_the_temperature_is_where_the_mean_logit_is_that_of_the_label(temperature):
    logits, labels = predictions()
    found = fitted_temperature(temperature * logits, labels)
    probabilities = softmax(temperature * logits / found)
    slope = np.mean(np.sum(probabilities * logits, axis=1) - logits[np.arange(len(labels)), labels])
    assert abs(slope) < 1e-5
    assert found / temperature == pytest.approx(fitted_temperature(logits, labels), rel=1e-5)


def test_the_temperature_that_logits_were_drawn_at_is_found():
    rng = np.random.default_rng(4)
    logits = 3 * rng.normal(size=(20_000, 5))
    labels = np.argmax(logits / 2.5 + rng.gumbel(size=logits.shape), axis=1)
    assert fitted_temperature(logits, labels) == pytest.approx(2.5, rel=0.03)


@pytest.mark.parametrize(("labels", "end"), [([0, 1], 1e-3), ([1, 0], 1e3)])
def test_without_a_best_temperature_it_is_an_end_of_what_is_searched(labels, end):
    assert fitted_temperature(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array(labels)) == pytest.approx(
        end, rel=0.1
    )


@pytest.mark.parametrize("rows", [[[0.5, 0.6]], [[1.5, -0.5]], [[np.nan, 1.0]]])
def test_what_are_no_probabilities_is_refused(rows):
    probabilities, labels = jnp.array([[0.2, 0.8], *rows]), jnp.array([0, 1])
    for function in (top_class, brier_score):
        with pytest.raises(ValueError, match=r"probabilities must .* sum to 1 .*, got .* for example 1"):
            function(probabilities, labels)


def test_bins_below_one_are_refused():
    confidences, correct = jnp.array([0.5]), jnp.array([True])
    for function, argument in (
        (expected_calibration_error, correct),
        (chance_calibration_error, jax.random.key(0)),
    ):
        with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
            function(confidences, argument, bins=0)
    with pytest.raises(ValueError, match="bins must be at least 1, got -1"):
        brier_score(jnp.array([[0.5, 0.5]]), jnp.array([1]), bins=-1)


def test_logits_that_are_not_finite_have_no_temperature():
    with pytest.raises(ValueError, match="logits: they must be finite"):
        fitted_temperature(np.array([[np.inf, 0.0]]), np.array([0]))
