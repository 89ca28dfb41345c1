"""Every family's curve, against references in float64 NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schedules import FAMILIES
from schedules.family import OPTIONS

X = np.arange(128) / 128  # exact in float32, so that both precisions see the same points
SEEDS = range(4)
CASES = (
    [(name, {}) for name in FAMILIES]
    + [("linear", {"warmup_form": form}) for form in OPTIONS["warmup_form"] if form != "linear"]
    + [("wsd", {"decay_form": form}) for form in OPTIONS["decay_form"] if form != "linear"]
    + [("cosine", {"floor": 0.1}), ("cosine", {"floor": 1.0, "warmup_form": "cosine"})]
)


def steepest_slope(curve, x):
    return np.abs(np.gradient(curve, x)).max()


def test_there_are_the_eighteen_families_and_parameters_of_the_specification():
    two_point = ["x0", "y1", "dx1", "dx2", "dy2"]
    assert {name: list(family.domain) for name, family in FAMILIES.items()} == {
        "constant": ["warmup"],
        "cosine": ["warmup"],
        "generalized_cosine": ["warmup", "exponent"],
        "cosine_floor": ["warmup", "floor"],
        "sqrt": ["warmup", "a"],
        "rex": ["warmup", "beta"],
        "two_point_linear": two_point,
        "two_point_spline": two_point,
        "two_point_spline_floor": [*two_point, "y_end"],
        "smooth_nonmonotonic": ["y_start", "y_end", "x_peak", "y1", "dx1", "y2", "dx2"],
        "linear": ["warmup"],
        "power": ["warmup", "exponent"],
        "inverse_sqrt": ["warmup", "timescale"],
        "exponential": ["warmup", "rate"],
        "wsd": ["warmup", "decay", "floor"],
        "hold_power": ["warmup", "hold", "exponent", "floor"],
        "knots": ["warmup", *(f"level_{k}" for k in range(1, 11))],
        "free": [f"level_{k}" for k in range(8)],
    }


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_multipliers_equal_the_reference_in_float64(name, options, reference, draw, family_of):
    family = family_of(name, options)
    with jax.enable_x64(True):
        for seed in SEEDS:
            params = draw(name, seed)
            multipliers = family.multipliers(params, len(X))
            assert multipliers.dtype == jnp.float64
            expected = reference(name, X, params, **options)
            # x^p keeps half the digits of x near 0, where the reference has 1 + cos πu and the code a sine
            np.testing.assert_allclose(multipliers, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_multipliers_equal_the_reference_in_float32(name, options, reference, draw, family_of):
    family = family_of(name, options)
    for seed in SEEDS:
        params = draw(name, seed)
        multipliers = family.multipliers(params, len(X))
        assert multipliers.dtype == jnp.float32
        expected = reference(name, X, params, **options)
        # a few roundings of the value, and of the knots, whose error the slope turns into one of the value
        tolerance = 16 * np.finfo(np.float32).eps * (1 + steepest_slope(expected, X))
        np.testing.assert_allclose(multipliers, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["cosine", "two_point_linear", "free"])
@pytest.mark.parametrize("num_steps", [1, 3, 10])
def test_multipliers_sample_the_curve_at_t_over_T(name, num_steps, reference, draw):
    params = draw(name, 11)
    expected = reference(name, np.arange(num_steps) / num_steps, params)
    # 1/3 is rounded in float32: its error times the slope, below 100 at this seed
    np.testing.assert_allclose(FAMILIES[name].multipliers(params, num_steps), expected, rtol=0, atol=3e-5)


def test_rex_is_linear_at_beta_1_and_constant_at_beta_0():
    rex = FAMILIES["rex"]
    np.testing.assert_allclose(rex.multipliers({"warmup": 0.0, "beta": 1.0}, 128), 1 - X, rtol=0, atol=2e-7)
    assert (rex.multipliers({"warmup": 0.0, "beta": 0.0}, 128) == 1).all()


def test_generalized_cosine_is_cosine_at_exponent_1_and_constant_at_exponent_0():
    family = FAMILIES["generalized_cosine"]
    cosine = (1 + np.cos(np.pi * X)) / 2
    once = family.multipliers({"warmup": 0.0, "exponent": 1.0}, 128)
    np.testing.assert_allclose(once, cosine, rtol=0, atol=1e-6)
    assert (family.multipliers({"warmup": 0.0, "exponent": 0.0}, 128) == 1).all()


def test_wsd_decays_to_its_floor_over_exactly_the_last_fraction():
    params = {"warmup": 0.2, "decay": 0.5, "floor": 0.1}  # of u, so from x = 0.2 + 0.5·0.8 = 0.6
    heights = jax.jit(FAMILIES["wsd"].curve_at)(np.float32([0.2, 0.4, 0.599, 0.8, 1.0]), params)
    np.testing.assert_allclose(heights, [1, 1, 1, 0.55, 0.1], rtol=0, atol=5e-7)


@pytest.mark.parametrize(
    ("warmup", "decay", "num_steps"),
    [(0.0, 0.1, 1000), (0.0, 0.2, 1000), (0.1, 0.05, 1000), (0.25, 0.5, 8), (0.4, 0.7, 100_000)],
)
def test_wsd_begins_to_decay_at_one_in_every_form(warmup, decay, num_steps):
    u = (np.arange(num_steps) / num_steps - warmup) / (1 - warmup)
    done = np.round(np.clip(1 - (1 - u) / decay, 0, 1), 12)  # without float64's own rounding errors
    family, params = FAMILIES["wsd"], {"warmup": warmup, "decay": decay, "floor": 0.0}
    forms = {"1-sqrt": np.sqrt(done), "linear": done, "cosine": (1 - np.cos(np.pi * done)) / 2}
    for form, lost in forms.items():
        found = np.asarray(family.with_options(decay_form=form).multipliers(params, num_steps))
        stable = (u >= 0) & (done == 0)
        np.testing.assert_allclose(found[stable], 1, rtol=0, atol=1e-6)
        # two roundings of float32 in v, over the decay; a root grows them as its slope says
        steps = (u >= 0) & (done > 0)
        slope = 0.5 / np.sqrt(done[steps]) if form == "1-sqrt" else np.pi / 2
        error = np.abs(found[steps] - (1 - lost[steps]))
        assert (error < 4 * np.finfo(np.float32).eps / (decay * (1 - warmup)) * slope + 1e-6).all()


def test_wsd_that_decays_all_along_in_a_root_is_1_minus_the_root():
    family = FAMILIES["wsd"].with_options(decay_form="1-sqrt")
    assert 1.0 in family.space["decay"]
    for num_steps in (128, 1500, 3000):
        target = 1 - np.sqrt(np.arange(num_steps) / num_steps)
        multipliers = np.asarray(family.multipliers({"warmup": 0.0, "decay": 1.0, "floor": 0.0}, num_steps))
        assert np.linalg.norm(multipliers - target) <= 1e-3 * np.linalg.norm(target)


@pytest.mark.parametrize("exponent", [0.2, 0.4, 0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    ("warmup", "hold", "num_steps"),
    [(0.0, 0.0, 1000), (0.1, 0.7, 1000), (1 / 15, 1 / 14, 1500), (0.4, 0.3, 50)],
)
def test_hold_power_is_one_until_its_decay_begins(exponent, warmup, hold, num_steps):
    t = np.arange(num_steps)
    begin = round((warmup + hold * (1 - warmup)) * num_steps)  # a whole number, but for rounding
    params = {"warmup": warmup, "hold": hold, "exponent": exponent, "floor": 0.1}
    multipliers = np.asarray(FAMILIES["hold_power"].multipliers(params, num_steps))
    held = (t >= warmup * num_steps) & (t <= begin)
    # a root of a rounding error would be a thousandth
    np.testing.assert_allclose(multipliers[held], 1, rtol=0, atol=2e-7)
    done = (t[t > begin] - begin) / (num_steps - begin)
    expected = 0.1 + 0.9 * (1 - done**exponent)
    np.testing.assert_allclose(multipliers[t > begin], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1e-3])
def test_free_depends_on_its_levels_only_up_to_scale(scale):
    levels = [0.2, 0.9, 0.4, 0.4, 0.7, 0.1, 0.0, 0.3]
    scaled = {f"level_{k}": scale * level for k, level in enumerate(levels)}
    np.testing.assert_allclose(
        FAMILIES["free"].multipliers(scaled, 7),
        np.array(levels[:7]) / 0.9,  # at t/7 the curve passes through level_t
        rtol=0,
        atol=5e-6,
    )


@pytest.mark.parametrize("name", ["two_point_linear", "two_point_spline", "two_point_spline_floor"])
def test_two_point_families_never_rise_after_their_peak(name, draw):
    for seed in range(20):
        params = draw(name, seed)
        decay = np.asarray(FAMILIES[name].multipliers(params, 128))[int(np.ceil(128 * params["x0"])) :]
        assert (np.diff(decay) <= 4 * np.finfo(np.float32).eps).all()
