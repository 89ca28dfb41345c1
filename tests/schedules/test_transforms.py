"""Families under jit, vmap and optax."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from schedules import FAMILIES

STEPS = 128


def stacked(draw, name, seeds):
    drawn = [draw(name, seed) for seed in seeds]
    return drawn, {p: np.float32([params[p] for params in drawn]) for p in drawn[0]}


@pytest.mark.parametrize("name", FAMILIES)
def test_jit_vmap_and_eager_agree_with_the_reference(name, reference, draw):
    family = FAMILIES[name]
    drawn, batch = stacked(draw, name, range(5))
    expected = np.stack([reference(name, np.arange(STEPS) / STEPS, params) for params in drawn])
    results = {
        "jit": np.stack([family.multipliers(params, STEPS) for params in drawn]),
        "vmap": jax.vmap(lambda params: family.multipliers(params, STEPS))(batch),
    }
    with jax.disable_jit():
        results["eager"] = np.stack(
            [family.multipliers({p: values[k] for p, values in batch.items()}, STEPS) for k in range(1)]
        )
    slope = 1 + np.abs(np.diff(expected)).max() * STEPS
    for how, result in results.items():
        tolerance = 32 * np.finfo(np.float32).eps * slope  # x and the knots are rounded too
        np.testing.assert_allclose(result, expected[: len(result)], rtol=0, atol=tolerance, err_msg=how)


@pytest.mark.parametrize("name", FAMILIES)
def test_schedule_is_the_base_rate_times_the_multipliers(name, reference, draw):
    params = draw(name, 2)
    schedule = jax.jit(jax.vmap(FAMILIES[name].schedule(params, 0.3, STEPS)))
    rates = np.asarray(schedule(np.arange(STEPS + 1)))
    expected = 0.3 * reference(name, np.arange(STEPS + 1) / STEPS, params)
    slope = 1 + np.abs(np.diff(expected)).max() * STEPS
    np.testing.assert_allclose(rates, expected, rtol=0, atol=32 * np.finfo(np.float32).eps * slope)
    multipliers = np.asarray(FAMILIES[name].multipliers(params, STEPS))
    np.testing.assert_allclose(rates[:-1], 0.3 * multipliers, rtol=0, atol=4e-6)


@pytest.mark.parametrize("count", [100, 101, 10_000, 2**31 - 1])
def test_schedule_holds_its_end_after_the_horizon(count):
    cosine = FAMILIES["cosine"].with_options(floor=0.25).schedule({"warmup": 0.1}, 2.0, 100)
    np.testing.assert_allclose(cosine(count), 0.5, rtol=1e-6)
    inverse = FAMILIES["inverse_sqrt"].schedule({"warmup": 0.1, "timescale": 1 / 3}, 2.0, 100)
    np.testing.assert_allclose(inverse(jnp.asarray(count)), 1.0, rtol=1e-6)


def test_schedule_drives_an_optax_chain_with_a_traced_count():
    schedule = FAMILIES["linear"].schedule({"warmup": 0.5}, 0.1, 4)
    optimizer = optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(schedule))
    params = jnp.zeros(2)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jnp.asarray([3.0, -0.5]), state, params)
        return optax.apply_updates(params, updates), state

    path, state = [params], optimizer.init(params)
    for _ in range(4):
        params, state = step(params, state)
        path.append(params)
    # under a constant gradient Adam's update is its sign, less ε / |gradient| = 2e-8 and the roundings of
    # the debiasing, 1 - 0.999^t, whose digits cancel to about 1e-4 of it at t = 1
    steps = np.diff(np.stack(path), axis=0)
    expected = np.outer([0, 0.05, 0.1, 0.05], [-1, 1])
    np.testing.assert_allclose(steps, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", ["cosine_floor", "wsd", "two_point_linear", "smooth_nonmonotonic", "free"])
def test_new_parameter_values_do_not_recompile(name, draw):
    traced = []

    def counted_curve(x, **arguments):
        traced.append(name)
        return FAMILIES[name].curve(x, **arguments)

    family = replace(FAMILIES[name], curve=counted_curve)
    for seed in range(3):
        family.multipliers(draw(name, seed), STEPS)
    assert len(traced) == 1
    mapped = jax.jit(jax.vmap(lambda params: family.multipliers(params, STEPS)))
    for seeds in (range(3), range(3, 6)):
        mapped(stacked(draw, name, seeds)[1])
    assert len(traced) == 2


def test_a_family_is_a_static_argument():
    static = jax.jit(lambda family, params: family.multipliers(params, 4), static_argnums=0)
    np.testing.assert_allclose(static(FAMILIES["linear"], {"warmup": 0.0}), [1, 0.75, 0.5, 0.25], rtol=1e-6)
    np.testing.assert_allclose(static(FAMILIES["constant"], {"warmup": 0.0}), [1, 1, 1, 1])
    assert hash(FAMILIES["linear"]) != hash(FAMILIES["constant"])
