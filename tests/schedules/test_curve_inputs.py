"""What the model of curves refuses and what it makes of runs that diverged."""

import subprocess
import sys

import jax
import jaxtyping
import numpy as np
import pytest

from schedules.search.curve_model import CurveModel

pytestmark = pytest.mark.usefixtures("one_thread")
RNG = np.random.default_rng(0)
CURVES = np.exp(RNG.normal(-2, 0.7, (8, 20)))
SCORES = np.exp(RNG.normal(size=8))
SEEDS = [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.fixture
def unchecked():
    """Types as a user's program leaves them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def with_first(array, value):
    changed = array.copy()
    changed.flat[0] = value
    return changed


def diverged_but(finite, diverged=np.inf):
    return np.where(np.arange(8) < finite, SCORES, diverged)


BAD = {
    "a number is missing": (CURVES, SCORES[:7], SEEDS, "shapes (8, 20), (7,) and 8 seeds"),
    "a seed is missing": (CURVES, SCORES, SEEDS[:7], "shapes (8, 20), (8,) and 7 seeds"),
    "scores in a column": (CURVES, SCORES[:, None], SEEDS, "shapes (8, 20), (8, 1) and 8 seeds"),
    "one curve": (CURVES[0], SCORES, SEEDS, "curves must be an array (curves, steps), got shape (20,)"),
    "no steps": (CURVES[:, :0], SCORES, SEEDS, "curves must be an array (curves, steps), got shape (8, 0)"),
    "ragged curves": ([[0.1, 0.2], [0.1]], SCORES, SEEDS, "inhomogeneous"),
    "a negative rate": (with_first(CURVES, -0.5), SCORES, SEEDS, "finite learning rates from 0 on, got -0.5"),
    "a NaN rate": (with_first(CURVES, np.nan), SCORES, SEEDS, "finite learning rates from 0 on, got nan"),
    "an infinite rate": (with_first(CURVES, np.inf), SCORES, SEEDS, "learning rates from 0 on"),
    "a NaN score": (CURVES, with_first(SCORES, np.nan), SEEDS, "scores must be numbers"),
    "a score of -inf": (CURVES, with_first(SCORES, -np.inf), SEEDS, "scores must be numbers"),
    "two runs did not diverge": (CURVES, diverged_but(2), SEEDS, "needs 3 runs that did not diverge"),
    "all diverged": (CURVES, diverged_but(0), SEEDS, "needs 3 runs that did not diverge"),
    "equal scores": (CURVES, np.full(8, 0.3), SEEDS, "3 runs that did not diverge and differ"),
    "no runs": (CURVES[:0], SCORES[:0], [], "needs 3 runs that did not diverge"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_fitted_is_refused_by_name(case):
    curves, scores, seeds, message = BAD[case]
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        CurveModel.fit(curves, scores, seeds)
    assert message in str(refused.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("curves", [CURVES[0], with_first(CURVES, -1.0), with_first(CURVES, np.nan)])
def test_what_cannot_be_predicted_is_refused(curves):
    model = CurveModel.fit(CURVES, SCORES, SEEDS)
    for ask in (model.predict, lambda curves: model.sample(curves, jax.random.key(0), 2)):
        with pytest.raises(ValueError, match="curves must be"):
            ask(curves)


@pytest.mark.usefixtures("unchecked")
def test_curves_that_are_maximised_diverge_to_minus_infinity():
    with pytest.raises(ValueError, match=r"\+?inf"):
        CurveModel.fit(CURVES, with_first(SCORES, np.inf), SEEDS, maximize=True)


@pytest.mark.parametrize("shift", [0.0, -2.0], ids=["relative", "absolute"])
@pytest.mark.parametrize("sign", [1, -1], ids=["minimised", "maximised"])
def test_a_run_that_diverged_counts_as_the_worst_of_the_others(shift, sign):
    scores = sign * (SCORES + shift) if shift else SCORES**sign
    worst, diverged = scores.copy(), scores.copy()
    worst[3], diverged[3] = sign * np.delete(sign * scores, 3).max(), sign * np.inf
    expected, model = (CurveModel.fit(CURVES, given, SEEDS, maximize=sign < 0) for given in (worst, diverged))
    np.testing.assert_array_equal(model.predict(CURVES), expected.predict(CURVES))
    assert np.isfinite(model.sample(CURVES, jax.random.key(0), 3)).all()


@pytest.mark.parametrize("finite", [3, 7])
def test_predictions_are_finite_however_many_runs_diverged(finite):
    model = CurveModel.fit(CURVES, diverged_but(finite), SEEDS)
    for numbers in (*model.predict(CURVES, observed=True), *model.sensitivity(CURVES[0])):
        assert np.isfinite(numbers).all()


@pytest.mark.parametrize("scores", [1 + 1e-9 * SCORES, np.exp(50 * SCORES), 0 * CURVES[:, 0] + (SCORES > 1)])
def test_predictions_are_finite_whatever_scores_are_like(scores):
    model = CurveModel.fit(CURVES, scores, SEEDS)
    assert np.isfinite(model.predict(CURVES)).all()
    assert np.isfinite(model.sample(np.tile(CURVES, (9, 1)), jax.random.key(0), 3)).all()


def test_a_rate_of_zero_is_a_rate():
    curves = np.where(CURVES < 0.1, 0.0, CURVES)
    assert np.isfinite(CurveModel.fit(curves, SCORES, SEEDS).predict(np.zeros((1, 20)))).all()


WITHOUT_EXTRAS = """
import sys
sys.modules["tinygp"] = sys.modules["cmaes"] = sys.modules["threadpoolctl"] = None
import numpy as np
import schedules
rates = np.linspace(0.1, 1, 8)
model = schedules.CurveModel.fit(np.tile(rates[:, None], 20), rates, [0] * 8)
print(model.predict(np.full((1, 20), 0.5))[0].shape)
"""


def test_the_model_needs_no_extra():
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=True)
    assert done.stdout == "(1,)\n"
