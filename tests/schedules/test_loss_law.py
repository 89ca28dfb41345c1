"""The multi-power law against a plain double sum, closed forms, and losses of gradient flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schedules import loss_law_fit
from schedules.loss_law import MultiPowerLaw, final_losses, predicted_losses
from schedules.loss_law_fit import fit_law

PAPERS = MultiPowerLaw(
    3.04, 0.525, 0.508, 364.0, 0.583, 0.641, 2.07
)  # fitted on a language model, rates of 3e-4
KNOWN = MultiPowerLaw(0.5, 2.0, 0.6, 0.4, 0.5, 0.6, 1.5)  # for rates around 1


def law_of(constants, dtype=np.float64):
    return MultiPowerLaw(*(jnp.asarray(value, dtype) for value in constants))


def double_sum(constants, rates, num_updates=None, count_warmup=False):
    """The law from its formula, one term after the other, in float64."""
    L0, A, alpha, B, beta, gamma, C = constants
    losses = []
    for t in range(1, len(rates) + 1) if num_updates is None else num_updates:
        total, reduction, fallen = np.sum(rates[:t]), 0.0, count_warmup
        for k in range(t):
            previous = rates[k - 1] if k > 0 else 0 if count_warmup else rates[0]
            fall, travelled = previous - rates[k], np.sum(rates[k:t])
            fallen = fallen or fall > 0
            if fallen and travelled > 0:
                x = np.inf if rates[k] == 0 else rates[k] ** -gamma * travelled
                reduction += fall * (1 - (C * x + 1) ** -beta)
        losses.append(L0 + A * total**-alpha - B * reduction if total else np.inf)
    return np.array(losses)


def end(constants, rates, count_warmup=False):
    return double_sum(constants, rates, [len(rates)], count_warmup)[0]


def up_and_down(seed, steps=40):
    """Rates that rise, fall, rise again and rest at zero, at the beginning, between and at the end."""
    rng = np.random.default_rng(seed)
    rates = np.concatenate([np.linspace(0.1, 1, 5), rng.uniform(0.1, 1.5, steps - 5)])
    rates[[20, 21]] = 0
    rates[-seed - 1 :] = 0
    return rates


@jax.jit
def compiled(law, rates, num_updates, count_warmup):
    return predicted_losses(law, rates, num_updates, count_warmup=count_warmup)


@jax.jit
def ends(law, rates, count_warmup=False):
    return final_losses(law, rates, count_warmup=count_warmup)


def predicted(constants, rates, count_warmup=False, dtype=np.float32, num_updates=None):
    """Filled up with zeros, which no loss before them sees, so that all lengths share a program."""
    filled = np.concatenate([rates, np.zeros(40 - len(rates))])
    num_updates = np.arange(1, 41) if num_updates is None else np.resize(num_updates, 40)
    with jax.enable_x64(dtype == np.float64):
        return np.asarray(
            compiled(
                law_of(constants, dtype), jnp.asarray(filled, dtype), jnp.asarray(num_updates), count_warmup
            )
        )


@pytest.mark.parametrize("count_warmup", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_law_is_its_double_sum(seed, count_warmup):
    rates = up_and_down(seed)
    expected = double_sum(KNOWN, rates, count_warmup=count_warmup)
    single, double = (predicted(KNOWN, rates, count_warmup, dtype) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single, expected, rtol=50 * np.finfo(np.float32).eps)
    np.testing.assert_allclose(double, expected, rtol=1e-13)
    chosen = predicted(KNOWN, rates, count_warmup, np.float64, num_updates=[40, 3, 22])
    np.testing.assert_array_equal(chosen[:3], double[[39, 2, 21]])


def test_without_being_asked_for_any_the_losses_after_all_updates_are_given():
    rates = up_and_down(0, steps=25)
    found = jax.jit(predicted_losses)(law_of(KNOWN, np.float32), jnp.asarray(rates, jnp.float32))
    np.testing.assert_allclose(found, double_sum(KNOWN, rates), rtol=1e-5)


def test_a_constant_rate_after_any_warmup_follows_the_first_power_law():
    for rise in ([], [0.0, 0.2, 0.3, 0.9], [0.5, 0.5, 1.0]):
        rates = np.array([*rise, *np.full(30, 1.25)])
        found = predicted(KNOWN, rates)[: len(rates)]
        sums = np.cumsum(rates)
        first = np.flatnonzero(sums > 0)[0]
        np.testing.assert_allclose(found[first:], 0.5 + 2 * sums[first:] ** -0.6, rtol=1e-5)
        assert np.isposinf(found[:first]).all()


def test_with_the_warmup_counted_a_constant_rate_costs_what_its_fall_takes_off():
    sums = 1.25 * np.arange(1, 31)
    found = predicted(KNOWN, np.full(30, 1.25), count_warmup=True)[:30]
    expected = 0.5 + 2 * sums**-0.6 + 0.4 * 1.25 * (1 - (1.5 * 1.25**-0.6 * sums + 1) ** -0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_single_fall_takes_off_its_own_power_law():
    found = predicted(KNOWN, np.concatenate([np.full(12, 2.0), np.full(20, 0.5)]))[:32]
    travelled = 0.5 * np.arange(1, 21)
    constant = 0.5 + 2 * (24 + travelled) ** -0.6
    reduction = 0.4 * 1.5 * (1 - (1.5 * 0.5**-0.6 * travelled + 1) ** -0.5)
    np.testing.assert_allclose(found[12:], constant - reduction, rtol=1e-5)


@pytest.mark.parametrize("count_warmup", [False, True])
def test_final_losses_are_the_ends_of_the_curves(count_warmup):
    rates = np.stack([up_and_down(seed) for seed in range(3)])
    found = ends(law_of(KNOWN, np.float32), np.float32(rates), count_warmup)
    np.testing.assert_allclose(found, [end(KNOWN, row, count_warmup) for row in rates], rtol=1e-5)


@jax.jit
def gradients_of_a_sum(law, rates):
    return jax.grad(lambda law, rates: jnp.sum(predicted_losses(law, rates)[2:]), argnums=(0, 1))(law, rates)


@pytest.mark.parametrize("constants", [KNOWN, KNOWN._replace(gamma=3.0, C=1e6), PAPERS])
def test_gradients_are_finite_where_rates_are_zero(constants):
    rates = np.concatenate([[0.0, 0.0], up_and_down(2), np.zeros(3)])
    found = gradients_of_a_sum(law_of(constants, np.float32), np.float32(rates))
    for gradient in jax.tree.leaves(found):
        assert np.isfinite(gradient).all()


def test_gradients_are_central_differences_of_the_double_sum():
    rates = np.concatenate([np.linspace(0.2, 1, 4), np.linspace(1, 0.1, 16)])
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(lambda law, rates: predicted_losses(law, rates)[-1], argnums=(0, 1)))
        of_law, of_rates = gradient(law_of(KNOWN), jnp.asarray(rates))
    h = 1e-6
    for name, value in KNOWN._asdict().items():
        higher, lower = (end(KNOWN._replace(**{name: value + d}), rates) for d in (h, -h))
        assert getattr(of_law, name) == pytest.approx((higher - lower) / (2 * h), rel=1e-7), name
    for k in (0, 2, 10, 19):  # no kink: which rate falls first stays the same
        higher, lower = (end(KNOWN, rates + d * (np.arange(20) == k)) for d in (h, -h))
        assert of_rates[k] == pytest.approx((higher - lower) / (2 * h), rel=1e-6)


STEPS, HORIZON = 100, 160
AFTER = np.linspace(20, STEPS, 9).astype(int)


def zigzag(x, *points):
    """A polygon through points at equal distances."""
    return np.interp(x, np.linspace(0, 1, len(points)), points)


def fitted_rates():
    x = np.arange(STEPS) / STEPS
    rise = np.minimum(1, x / 0.1)
    constant, cosine = np.ones_like(x), (1 + np.cos(np.pi * x)) / 2
    return rise * np.stack([0.5 * constant, 2 * constant, 2 * cosine, 1.5 * zigzag(x, 1, 1, 1, 0.1)])


def unseen_rates(steps):
    x = np.arange(steps) / steps
    return np.stack([1.5 * (1 - x), zigzag(x, 0.1, 1, 0.8, 0.2, 0), zigzag(x, 0.5, 1.5, 0.4, 0.9, 0.1)])


def known_curves(count_warmup=False):
    rates = fitted_rates()
    return rates, np.stack([double_sum(KNOWN, row, AFTER, count_warmup) for row in rates])


def fitted(rates, losses, dtype=np.float64, **options):
    with jax.enable_x64(dtype == np.float64):
        arrays = jnp.asarray(rates, dtype), jnp.asarray(losses, dtype), jnp.asarray(AFTER)
        return fit_law(*arrays, jax.random.key(0), starts=8, iterations=60, **options)


@pytest.fixture(scope="module")
def known_fit():
    return fitted(*known_curves())


def test_a_fit_predicts_unseen_shapes_and_longer_horizons_of_the_law_that_made_its_curves(known_fit):
    assert float(known_fit.error) < 1e-4
    for steps in (STEPS, HORIZON):
        unseen = unseen_rates(steps)
        with jax.enable_x64(True):
            predicted = ends(known_fit.law, unseen)
        expected = [end(KNOWN, row) for row in unseen]
        np.testing.assert_allclose(predicted, expected, rtol=1e-3)


def test_a_fit_in_float32_that_counts_the_warmup_predicts_what_does():
    fit = fitted(*known_curves(count_warmup=True), dtype=np.float32, count_warmup=True)
    assert {leaf.dtype for leaf in jax.tree.leaves(fit)} == {np.dtype(np.float32)}
    assert float(fit.error) < 1e-3
    unseen = unseen_rates(STEPS)
    predicted = ends(fit.law, np.float32(unseen), True)
    np.testing.assert_allclose(predicted, [end(KNOWN, row, True) for row in unseen], rtol=5e-3)


def test_a_fit_does_not_depend_on_the_units_and_compiles_nothing_again(known_fit):
    rates, losses = known_curves()
    compiled_before = loss_law_fit._fit._cache_size()
    other = fitted(rates * 1e-3, losses * 7)
    assert loss_law_fit._fit._cache_size() == compiled_before
    with jax.enable_x64(True):
        unseen = unseen_rates(STEPS)
        first, second = ends(known_fit.law, unseen), ends(other.law, unseen * 1e-3)
    np.testing.assert_allclose(second, 7 * np.asarray(first), rtol=1e-4)


def test_a_few_wrong_points_do_not_pull_the_fit():
    rates, losses = known_curves()
    losses[[0, 2, 3], [4, 1, 7]] *= [1.5, 0.7, 1.3]
    fit = fitted(rates, losses)
    with jax.enable_x64(True):
        predicted = ends(fit.law, rates)
    np.testing.assert_allclose(predicted, [end(KNOWN, row) for row in rates], rtol=2e-3)


@pytest.mark.parametrize(("a", "b"), [(1.5, 1.75), (2.0, 2.5)])
def test_the_exponent_of_gradient_flow_on_a_power_law_spectrum_is_found(a, b):
    """Eigenvalues k^-a and initial losses k^-b: Σ k^-b e^(-2 s k^-a) ~ s^(-(b-1)/a) in s = Σ η, as the sum is
    nearly (1/a) ∫ u^((b-1)/a - 1) e^(-2su) du; without noise no fall of the rate takes anything off."""
    k = np.arange(1, 300_000.0)
    rates = 30 * fitted_rates()
    sums = np.cumsum(rates, axis=1)[:, AFTER - 1]
    losses = np.array([[np.sum(k**-b * np.exp(-2 * s * k**-a)) for s in row] for row in sums])
    fit = fitted(rates, losses)
    assert float(fit.law.alpha) == pytest.approx((b - 1) / a, rel=0.05)
    with jax.enable_x64(True):
        reduced = ends(fit.law._replace(B=np.zeros(())), rates)
        np.testing.assert_allclose(ends(fit.law, rates), reduced, rtol=0.01)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rates": [[0.1, -0.1, 0.1]]}, "learning_rates must be finite and not negative"),
        ({"learning_rates": [[0.1, np.inf, 0.1]]}, "learning_rates must be finite"),
        ({"losses": [[1.0, 0.0]]}, "losses must be positive and finite"),
        ({"losses": [[1.0, np.nan]]}, "losses must be positive and finite"),
        ({"num_updates": [0, 3]}, r"num_updates must lie in \[1, 3\]"),
        ({"num_updates": [1, 4]}, r"num_updates must lie in \[1, 3\]"),
        ({"learning_rates": [[0.0, 0.0, 0.1]]}, "num_updates must begin when every run had a positive"),
        ({"starts": 0}, "starts must be at least 1, got 0"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_fitted_is_an_error_that_says_so(changes, words):
    given = {"learning_rates": [[0.1, 0.1, 0.1]], "losses": [[1.0, 0.5]], "num_updates": [2, 3], **changes}
    arrays = {name: jnp.asarray(given.pop(name)) for name in ("learning_rates", "losses", "num_updates")}
    with pytest.raises(ValueError, match=words):
        fit_law(**arrays, key=jax.random.key(0), **given)
