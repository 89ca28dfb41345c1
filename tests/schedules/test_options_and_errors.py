"""What a family refuses, and what its message names."""

import copy
import pickle
import re
from dataclasses import FrozenInstanceError, replace

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schedules import FAMILIES, Interval

GOOD = {"warmup": 0.1, "beta": 0.5}


def calls(family, params):
    return {
        "multipliers": lambda: family.multipliers(params, 4),
        "schedule": lambda: family.schedule(params, 0.1, 4),
        "check": lambda: family.check(params),
    }


def assert_raises(params, *words, family=FAMILIES["rex"]):
    for call in calls(family, params).values():
        with pytest.raises(ValueError, match=".*".join(map(re.escape, [family.name, *words]))):
            call()


def test_an_unknown_parameter_is_named_with_the_known_ones_and_their_intervals():
    assert_raises({**GOOD, "gamma": 0.5}, "'gamma'", "warmup in [0, 1)", "beta in [0, inf)")


@pytest.mark.parametrize(("name", "interval"), [("warmup", "[0, 1)"), ("beta", "[0, inf)")])
def test_a_missing_parameter_is_named_with_its_interval(name, interval):
    assert_raises({other: value for other, value in GOOD.items() if other != name}, f"'{name}'", interval)


@pytest.mark.parametrize("value", [-1e-9, 1.0, 1.5, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("convert", [float, jnp.asarray])
def test_a_value_outside_the_domain_is_named_with_its_interval(value, convert):
    assert_raises({**GOOD, "warmup": convert(value)}, "warmup", "[0, 1)", f"{value:g}")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.5])
def test_an_unbounded_domain_holds_finite_numbers_only(value):
    assert_raises({**GOOD, "beta": value}, "beta", "[0, inf)")


@pytest.mark.parametrize("name", ["x_peak", "dx1", "dx2"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_open_ends_are_refused(name, value):
    family = FAMILIES["smooth_nonmonotonic"]
    params = dict.fromkeys(family.domain, 0.5)
    assert_raises({**params, name: value}, name, "(0, 1)", family=family)


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 2)])
def test_a_parameter_that_is_not_a_scalar_is_named_with_its_interval_and_shape(shape):
    assert_raises({**GOOD, "beta": jnp.full(shape, 0.5)}, "beta", "[0, inf)", str(shape))


def test_a_parameter_may_be_an_integer():
    multipliers = FAMILIES["rex"].multipliers({"warmup": 0, "beta": 1}, 4)
    assert multipliers.tolist() == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("num_steps", [0, -3])
def test_a_horizon_below_one_step_is_refused(num_steps):
    for call in (
        lambda: FAMILIES["rex"].multipliers(GOOD, num_steps),
        lambda: FAMILIES["rex"].schedule(GOOD, 0.1, num_steps),
    ):
        with pytest.raises(ValueError, match=rf"num_steps.*{num_steps}"):
            call()


@pytest.mark.parametrize("base_lr", [np.nan, np.inf, -np.inf, -0.1])
def test_a_base_learning_rate_that_is_none_is_refused(base_lr):
    with pytest.raises(ValueError, match=rf"rex: base_lr must be in \[0, inf\), got {base_lr}"):
        FAMILIES["rex"].schedule(GOOD, base_lr, 4)


@pytest.mark.parametrize("num_steps", [2**31 - 1, 2**31, 10**12])
def test_a_horizon_may_be_counted_in_tokens(num_steps):
    schedule = FAMILIES["linear"].schedule({"warmup": 0.0}, 1.0, num_steps)
    for count in (0, 10**6, 2**31 - 1):
        expected = 1 - count / num_steps
        for found in (schedule(count), jax.jit(schedule)(jnp.int32(count))):
            assert found == pytest.approx(expected, abs=1e-6)
    assert schedule(np.float32(num_steps)) == 0


def test_inside_jit_values_cannot_raise_but_names_do():
    compiled = jax.jit(lambda params: FAMILIES["rex"].multipliers(params, 4))
    assert compiled({"warmup": -0.5, "beta": 0.5}).shape == (4,)
    with pytest.raises(ValueError, match=r"missing parameter 'beta' in \[0, inf\)"):
        compiled({"warmup": 0.1})
    with pytest.raises(ValueError, match="unknown parameter 'gamma'"):
        compiled({**GOOD, "gamma": 0.5})


def test_an_unknown_option_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"rex.*'decay_form'.*\['warmup_form'\]"):
        FAMILIES["rex"].with_options(decay_form="cosine")
    with pytest.raises(ValueError, match=r"free.*'warmup_form'.*none"):
        FAMILIES["free"].with_options(warmup_form="cosine")


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("rex", "warmup_form", "sigmoid"),
        ("wsd", "decay_form", "sqrt"),
        ("cosine", "floor", -0.1),
        ("cosine", "floor", 1.1),
        ("cosine", "floor", float("nan")),
    ],
)
def test_an_option_out_of_its_values_is_refused(name, option, value):
    with pytest.raises(ValueError, match=rf"{name}: {option} must be in .*{value}"):
        FAMILIES[name].with_options(**{option: value})


def test_with_options_leaves_the_family_as_it_was():
    changed = FAMILIES["cosine"].with_options(floor=0.5)
    assert (FAMILIES["cosine"].options["floor"], changed.options["floor"]) == (0.0, 0.5)
    assert changed.options["warmup_form"] == "linear"


CHANGED = FAMILIES["wsd"].with_options(decay_form="1-sqrt")


@pytest.mark.parametrize("family", [*FAMILIES.values(), CHANGED], ids=lambda family: family.name)
def test_a_copy_is_the_family_itself(family):
    """So that it finds what was compiled for it, and others do not."""
    for dump in (pickle, cloudpickle):
        assert dump.loads(dump.dumps(family)) == family
    copied = copy.deepcopy(family)
    assert [other for other in (*FAMILIES.values(), CHANGED) if copied == other] == [family]
    params = {name: interval.from_unit(jnp.float32(0.5)) for name, interval in family.space.items()}
    compiled = jax.jit(lambda family, params: family.multipliers(params, 4), static_argnums=0)
    jax.tree.map(np.testing.assert_array_equal, compiled(copied, params), compiled(family, params))
    assert compiled._cache_size() == 1


def test_a_curve_of_ones_own_is_not_taken_for_one_of_the_same_name():
    assert replace(FAMILIES["linear"], curve=FAMILIES["rex"].curve) != FAMILIES["linear"]


def test_a_family_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        FAMILIES["rex"].name = "other"
    with pytest.raises(TypeError):
        FAMILIES["rex"].space["beta"] = Interval(0.0, 1.0)
    with pytest.raises(TypeError):
        FAMILIES["rex"] = FAMILIES["linear"]


def test_a_space_outside_the_domain_is_refused():
    with pytest.raises(ValueError, match=r"linear.*\[0, 2\].*'warmup'.*\[0, 1\)"):
        replace(FAMILIES["linear"], space={"warmup": Interval(0.0, 2.0)})
    with pytest.raises(ValueError, match=r"\[0, 1\].*'warmup'.*\[0, 1\)"):
        replace(FAMILIES["linear"], space={"warmup": Interval(0.0, 1.0)})


def test_space_and_domain_must_name_the_same_parameters():
    with pytest.raises(ValueError, match="same parameters"):
        replace(FAMILIES["linear"], space={})
