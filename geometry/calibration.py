"""Whether a classifier is right as often as it says: calibration errors, scores, and a temperature for it.

Of the n examples, cᵢ is the probability given to the predicted class and oᵢ whether it was right. Bins b hold
the cᵢ in (lower edge, upper edge]; c̄_b and ō_b are their means there, n_b their number.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from scipy.optimize import minimize_scalar

BINS = 15
ROUNDING = 1e-3  # by which probabilities may miss a sum of 1
LARGEST_LOG_TEMPERATURE = np.log(1e3)

# (confidences, bins) → the edges between the bins
Edges = Callable[[Float[Array, "n"], int], Float[Array, "edges"]]


def equal_width(confidences: Float[Array, "n"], bins: int) -> Float[Array, "edges"]:
    """Edges that cut [0, 1] in equal parts."""
    return jnp.linspace(0, 1, bins + 1, dtype=confidences.dtype)[1:-1]


def equal_mass(confidences: Float[Array, "n"], bins: int) -> Float[Array, "edges"]:
    """Edges between which equally many confidences lie, but for equal ones, which stay together."""
    return jnp.quantile(confidences, jnp.linspace(0, 1, bins + 1, dtype=confidences.dtype)[1:-1])


def top_class(
    probabilities: Float[Array, "n classes"], labels: Int[Array, "n"]
) -> tuple[Float[Array, "n"], Bool[Array, "n"]]:
    """The probability of the predicted class, and whether it is the label.

    >>> top_class(jnp.array([[0.25, 0.75], [0.5, 0.5]]), jnp.array([1, 1]))
    (Array([0.75, 0.5 ], dtype=float32), Array([ True, False], dtype=bool))

    Raises ValueError for what are no probabilities, where they are not traced.
    """
    _check_probabilities(probabilities)
    return jnp.max(probabilities, axis=1), jnp.argmax(probabilities, axis=1) == labels


def expected_calibration_error(
    confidences: Float[Array, "n"], correct: Bool[Array, "n"], *, bins: int = BINS, edges: Edges = equal_width
) -> Float[Array, ""]:
    """ECE = Σ_b n_b/n |c̄_b - ō_b|, in [0, 1].

    It is not zero for a perfectly calibrated model of few examples: see `chance_calibration_error`. Source:
    arXiv:1706.04599; with `equal_mass`, arXiv:1904.01685.

    >>> correct = jnp.arange(10) < 6
    >>> round(float(expected_calibration_error(jnp.full(10, 0.75), correct)), 4)
    0.15

    Raises ValueError when `bins` is below 1.
    """
    return _total_excess(confidences - correct, _places(confidences, bins, edges), bins)


def chance_calibration_error(
    confidences: Float[Array, "n"],
    key: PRNGKeyArray,
    *,
    bins: int = BINS,
    edges: Edges = equal_width,
    draws: int = 1000,
) -> Float[Array, ""]:
    """What `expected_calibration_error` comes to on average if the model is right as often as it says.

    The mean over `draws` of oᵢ ~ Bernoulli(cᵢ), to 0.6 % of itself from 1,000. It belongs beside every ECE,
    and falls as √(bins/n).

    Raises ValueError when `bins` is below 1.
    """
    places = _places(confidences, bins, edges)

    def error(draw_key):
        correct = jax.random.uniform(draw_key, confidences.shape, confidences.dtype) < confidences
        return _total_excess(confidences - correct, places, bins)

    return jnp.mean(jax.lax.map(error, jax.random.split(key, draws)))


class BrierScore(NamedTuple):
    """The Brier score and its parts: score = reliability - resolution + uncertainty + within.

    With p and y the probability of a class and whether it is the label, each is summed over the classes.

    Attributes:
      score: mean (p - y)², in [0, 2].
      reliability: Σ_b n_b/n (p̄_b - ȳ_b)², 0 for a calibrated model.
      resolution: Σ_b n_b/n (ȳ_b - ȳ)², how far the bins tell the outcomes apart.
      uncertainty: ȳ(1 - ȳ), of the labels alone.
      within: mean (p - p̄_b)² - 2 mean (p - p̄_b)(y - ȳ_b), what varies inside the bins; 0 where each holds one
        probability.
    """

    score: Float[Array, ""]
    reliability: Float[Array, ""]
    resolution: Float[Array, ""]
    uncertainty: Float[Array, ""]
    within: Float[Array, ""]


def brier_score(
    probabilities: Float[Array, "n classes"],
    labels: Int[Array, "n"],
    *,
    bins: int = BINS,
    edges: Edges = equal_width,
) -> BrierScore:
    """The Brier score of all classes, with Murphy's decomposition over bins of each class's probability.

    Sources: Brier (1950), Murphy (1973), with the terms within bins of Stephenson et al. (2008).

    Raises ValueError for what are no probabilities, where they are not traced, or `bins` below 1.
    """
    _check_probabilities(probabilities)

    def class_score(forecasts, outcomes):
        places = _places(forecasts, bins, edges)
        counts = _bin_sums(jnp.ones_like(forecasts), places, bins)
        mean_forecasts, mean_outcomes = (
            _bin_sums(values, places, bins) / jnp.maximum(counts, 1) for values in (forecasts, outcomes)
        )
        base_rate, shares = jnp.mean(outcomes), counts / len(forecasts)
        forecast_gaps, outcome_gaps = forecasts - mean_forecasts[places], outcomes - mean_outcomes[places]
        return BrierScore(
            jnp.mean((forecasts - outcomes) ** 2),
            jnp.sum(shares * (mean_forecasts - mean_outcomes) ** 2),
            jnp.sum(shares * (mean_outcomes - base_rate) ** 2),
            base_rate * (1 - base_rate),
            jnp.mean(forecast_gaps * (forecast_gaps - 2 * outcome_gaps)),
        )

    outcomes = jax.nn.one_hot(labels, probabilities.shape[1], dtype=probabilities.dtype)
    return jax.tree.map(jnp.sum, jax.vmap(class_score, in_axes=1)(probabilities, outcomes))


def negative_log_likelihood(logits: Float[Array, "n classes"], labels: Int[Array, "n"]) -> Float[Array, ""]:
    """-mean ln softmax of the logits at each label, in nats.

    >>> round(float(negative_log_likelihood(jnp.zeros((2, 4)), jnp.array([0, 3]))), 4)  # ln 4
    1.3863
    """
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))


def fitted_temperature(
    logits: Float[Array | np.ndarray, "n classes"], labels: Int[Array | np.ndarray, "n"]
) -> float:
    """The T > 0 at which logits / T have the least negative log-likelihood, to 1e-6 of itself.

    To be fitted on examples that training has not seen; above 1 where the model is overconfident. Searched
    between 0.001 and 1000, one of which it is where every example is right, or the logits mislead. Source:
    arXiv:1706.04599.

    Raises ValueError for logits that are not finite.
    """
    if not np.all(np.isfinite(logits)):
        raise ValueError("logits: they must be finite")
    scores = np.asarray(logits, np.float64)
    scores = scores - scores[np.arange(len(scores)), np.asarray(labels)][:, None]  # over that of the label

    def loss(log_temperature: float) -> float:
        return np.mean(np.logaddexp.reduce(scores * np.exp(-log_temperature), axis=1))

    bounds = -LARGEST_LOG_TEMPERATURE, LARGEST_LOG_TEMPERATURE
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def _places(confidences: Float[Array, "n"], bins: int, edges: Edges) -> Int[Array, "n"]:
    """The bin of each."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    return jnp.searchsorted(edges(confidences, bins), confidences, side="left")


def _total_excess(excess: Float[Array, "n"], places: Int[Array, "n"], bins: int) -> Float[Array, ""]:
    """Σ_b |mean of the excess in b| n_b/n."""
    return jnp.sum(jnp.abs(_bin_sums(excess, places, bins))) / len(excess)


def _bin_sums(values: Float[Array, "n"], places: Int[Array, "n"], bins: int) -> Float[Array, "bins"]:
    return jax.ops.segment_sum(values, places, num_segments=bins)


def _check_probabilities(probabilities: Float[Array, "n classes"]) -> None:
    if isinstance(probabilities, jax.core.Tracer):
        return
    sums = jnp.sum(probabilities, axis=1)
    wrong = ~(jnp.abs(sums - 1) <= ROUNDING) | jnp.any(probabilities < 0, axis=1)
    if jnp.any(wrong):
        example = int(jnp.argmax(wrong))
        raise ValueError(
            f"probabilities must be none negative and sum to 1 for each example, got {sums[example]:.4g} for"
            f" example {example}"
        )
