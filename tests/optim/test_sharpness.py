"""Sharpness-aware steps against closed forms on quadratics, and against a NumPy loop over parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from optim import muon, sharpness_aware

HESSIAN = np.diag([4.0, 1.0, 0.25])


def trajectory(tx, gradient, params, steps):
    """The parameters after each step."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(gradient(params), state, params, grad_fn=gradient)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    found = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=steps)[1])(params)
    return jax.tree.map(np.asarray, found)


def first_update(tx, gradient, params):
    return jax.jit(lambda p: tx.update(gradient(p), tx.init(p), p, grad_fn=gradient)[0])(params)


@functools.partial(jax.jit, static_argnums=0)
def uphill(tx, gradient, params):
    """Where the gradient is taken again."""
    updates, _ = tx.update(gradient, tx.init(params), params, grad_fn=lambda params: params)
    return jax.tree.map(jnp.negative, updates)


@pytest.mark.parametrize(
    ("curvature", "rate", "radius", "size"),
    [(1, 0.1, 0.05, 0.05 / 19), (4, 0.25, 0.1, 0.1), (1, 1.5, 0.05, 0.15)],
)
def test_it_ends_in_the_two_cycle_of_a_parabola(curvature, rate, radius, size):
    """|w| = αaρ / (2 - αa): .002632, .1 and .15."""
    tx = sharpness_aware(optax.sgd(rate), radius=radius)
    with jax.enable_x64(True):
        found = trajectory(tx, lambda w: curvature * w, np.float64(0.7), 400)[-2:]
    np.testing.assert_allclose(np.abs(found), size, rtol=1e-9)
    assert found[0] * found[1] < 0


def test_in_a_bowl_it_ends_going_to_and_fro_on_the_sharpest_axis():
    tx = sharpness_aware(optax.sgd(0.1), radius=0.1)
    with jax.enable_x64(True):
        found = trajectory(tx, lambda w: HESSIAN @ w, np.ones(3), 3000)[-2:]
    np.testing.assert_allclose(np.abs(found), [[0.025, 0, 0]] * 2, atol=1e-9)
    assert found[0, 0] * found[1, 0] < 0


def test_on_a_quadratic_its_gradient_has_a_closed_form():
    """(H + ρH²/‖Hw‖) w."""
    with jax.enable_x64(True):
        w, radius = np.array([0.3, -1.2, 2.0]), 0.07
        update = first_update(sharpness_aware(optax.sgd(1.0), radius=radius), lambda w: HESSIAN @ w, w)
        expected = (HESSIAN + radius * HESSIAN @ HESSIAN / np.linalg.norm(HESSIAN @ w)) @ w
        np.testing.assert_allclose(-update, expected, rtol=1e-14)


def nonlinear(w):
    return jnp.sin(w["a"]).sum() * jnp.cosh(w["b"]).sum() + (w["a"][0] * w["b"]).sum() ** 2


PARAMS = {"a": np.float32([0.3, -1.0]), "b": np.float32([0.5, 2.0, -0.1])}


def test_without_a_radius_it_is_the_inner_optimizer_bit_for_bit():
    gradient = jax.grad(nonlinear)
    update = first_update(sharpness_aware(optax.adam(0.1), radius=0.0), gradient, PARAMS)
    expected = first_update(optax.with_extra_args_support(optax.adam(0.1)), gradient, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, update, expected)


@pytest.mark.parametrize("adaptive", [False, True])
def test_without_a_gradient_it_stays_where_it_is(adaptive):
    """optax's is NaN from the second step on."""
    tx = sharpness_aware(optax.sgd(0.1), radius=0.5, adaptive=adaptive)
    found = trajectory(tx, lambda w: 2 * (w - 1), np.ones(3, np.float32), 3)
    np.testing.assert_array_equal(found, np.ones((3, 3)))


def test_the_perturbation_does_not_depend_on_the_loss_s_scale():
    gradient = jax.tree.map(np.asarray, jax.jit(jax.grad(nonlinear))(PARAMS))
    tx = sharpness_aware(optax.sgd(1.0), radius=0.1)
    expected = uphill(tx, gradient, PARAMS)
    for scale in (1e-30, 1e-3, 1e30):
        scaled = jax.tree.map(functools.partial(np.multiply, np.float32(scale)), gradient)
        found = uphill(tx, scaled, PARAMS)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found, expected)


def test_asam_follows_a_rescaled_network():
    """ε(Dw) = Dε(w) for diagonal D and the loss reparametrised, which SAM's does not."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        w, factors = rng.normal(size=4), np.exp(rng.normal(size=4))
        gradient = np.sin(2 * w) + np.array(
            [w[1] * w[3], w[0] * w[3], 0, w[0] * w[1]]
        )  # of Σ sin² w + w₀w₁w₃

        def defect(adaptive):
            tx = sharpness_aware(optax.sgd(1.0), radius=0.3, adaptive=adaptive)
            scaled = uphill(tx, gradient / factors, factors * w) - factors * w
            return np.abs(scaled - factors * (uphill(tx, gradient, w) - w)).max()

        assert defect(adaptive=True) < 1e-15
        assert defect(adaptive=False) > 0.1


def test_asam_moves_no_weights_that_are_zero():
    tx = sharpness_aware(optax.sgd(1.0), radius=0.3, adaptive=True)
    gradient = lambda w: w - jnp.array([1.0, 2.0])  # noqa: E731
    np.testing.assert_array_equal(first_update(tx, gradient, np.zeros(2, np.float32)), [1, 2])


def test_each_part_ascends_by_itself():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        inputs, targets, w = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5)), rng.normal(size=3)

        def of_part(w, part):
            return inputs[part].T @ (inputs[part] @ w - targets[part])

        traced = jax.grad(
            lambda w, p: jnp.sum((jnp.take(inputs, p, 0) @ w - jnp.take(targets, p, 0)) ** 2) / 2
        )
        gradients = np.stack([of_part(w, part) for part in range(4)])
        tx = sharpness_aware(optax.sgd(0.1), radius=0.2, parts=4)
        step = jax.jit(lambda w, g: tx.update(w, tx.init(w), w, grad_fn=traced, part_gradients=g)[0])
        ascended = [of_part(w + 0.2 * g / np.linalg.norm(g), part) for part, g in enumerate(gradients)]
        np.testing.assert_allclose(step(w, gradients), -0.1 * np.mean(ascended, axis=0), rtol=1e-12)


def test_a_schedule_inside_counts_every_step_once():
    rates = []
    tx = sharpness_aware(optax.sgd(lambda count: 0.1 / (1 + count)), radius=0.0)
    step = jax.jit(lambda w, state: tx.update(w, state, w, grad_fn=jnp.ones_like))
    w, state = np.float32(1), tx.init(np.float32(1))
    for _ in range(3):
        update, state = step(w, state)
        rates.append(-float(update))
    np.testing.assert_allclose(rates, [0.1, 0.05, 0.1 / 3], rtol=1e-6)


def test_it_goes_around_what_works_on_a_part_of_the_leaves():
    params = {"mlp": {"kernel": np.eye(3, dtype=np.float32), "bias": np.ones(3, np.float32)}}
    gradient = jax.grad(lambda p: jnp.sum((p["mlp"]["kernel"] @ p["mlp"]["bias"] - 3) ** 2))
    for inner in (muon(0.1), optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation()):
        found = trajectory(sharpness_aware(inner, radius=0.05), gradient, params, 20)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
        assert not np.array_equal(found["mlp"]["kernel"][-1], params["mlp"]["kernel"])


def test_ranks_that_each_hold_a_part_of_the_weights_share_one_norm():
    w, target = np.float32([0.5, -1.0, 2.0, 3.0]), np.float32([1.0, 0.0, 0.0, 1.0])
    gradient = lambda w, target: (w - target) ** 3  # noqa: E731
    plain = sharpness_aware(optax.sgd(1.0), radius=0.5)
    expected = first_update(plain, functools.partial(gradient, target=target), w)
    split = sharpness_aware(optax.sgd(1.0), radius=0.5, axis_name="x")

    def on_a_rank(w, target):
        return first_update(split, functools.partial(gradient, target=target), w)

    mesh, spec = jax.make_mesh((2,), ("x",)), PartitionSpec("x")
    with jax.set_mesh(mesh):
        found = jax.jit(jax.shard_map(on_a_rank, in_specs=(spec, spec), out_specs=spec))(
            *jax.device_put((w, target), jax.NamedSharding(mesh, spec))
        )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_bad_gradients_are_left_out_by_optax():
    tx = optax.apply_if_finite(sharpness_aware(optax.sgd(0.1), radius=0.1), 2)
    step = jax.jit(lambda g, w: tx.update(g, tx.init(w), w, grad_fn=lambda w: w)[0])
    update = step(np.float32([np.nan, 1]), np.ones(2, np.float32))
    np.testing.assert_array_equal(update, [0, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": -0.1}, r"radius must be in \[0, inf\), got -0.1"),
        ({"parts": 0}, "parts must be at least 1, got 0"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        sharpness_aware(optax.sgd(0.1), **({"radius": 0.1} | options))


def test_an_update_says_what_it_lacks():
    w = jnp.ones(2)
    tx = sharpness_aware(optax.sgd(0.1), radius=0.1)
    for arguments, extra in (((w, w, w), {}), ((w, w), {"grad_fn": jnp.ones_like})):
        with pytest.raises(ValueError, match="sharpness_aware needs params and grad_fn"):
            tx.update(*arguments, **extra)
    tx = sharpness_aware(optax.sgd(0.1), radius=0.1, parts=2)
    for parts in (None, jnp.ones((3, 2))):
        with pytest.raises(ValueError, match="part_gradients, those of its 2 parts"):
            tx.update(w, tx.init(w), w, grad_fn=lambda w, part: w, part_gradients=parts)
    partition = optax.partition({"sam": tx, "sgd": optax.sgd(0.1)}, {"a": "sam", "b": "sgd"})
    with pytest.raises(ValueError, match="needs all parameters"):
        partition.init({"a": w, "b": w})
