"""The dense product against Flax's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads.dense import dense_product

WIDTHS = [(5, 9), (9, 5)]  # transposed for the kernel's gradient: the inputs, or what comes back


def layers(fan_out):
    return nn.Dense(fan_out, dot_general=dense_product), nn.Dense(fan_out)


def data(fan_in, fan_out):
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(fan_in, fan_out)) / fan_in**0.5, rng.normal(size=fan_out)
    params = {"params": {"kernel": np.float32(kernel), "bias": np.float32(bias)}}
    return np.float32(rng.normal(size=(4, 3, fan_in))), params


def gradient(layer, inputs, params):
    return jax.grad(lambda x, p: jnp.sum(jnp.tanh(layer.apply(p, x))), argnums=(0, 1))(inputs, params)


def assert_close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, theirs)


@pytest.mark.parametrize(("fan_in", "fan_out"), WIDTHS)
def test_values_and_gradients_are_flaxs(fan_in, fan_out):
    inputs, params = data(fan_in, fan_out)
    ours, theirs = layers(fan_out)
    pair = jax.jit(lambda x, p: [(layer.apply(p, x), gradient(layer, x, p)) for layer in (ours, theirs)])
    assert_close(*pair(inputs, params))


@pytest.mark.parametrize(("fan_in", "fan_out"), WIDTHS)
def test_vmap_and_second_derivatives_are_flaxs(fan_in, fan_out):
    inputs, params = data(fan_in, fan_out)
    many = jax.tree.map(lambda p: np.stack([p, -p, 2 * p]), params)

    def products(layer):
        def directional(p):
            return jax.jvp(lambda p: gradient(layer, inputs, p), (p,), (params,))

        return jax.vmap(directional)(many)

    assert_close(*jax.jit(lambda: [products(layer) for layer in layers(fan_out)])())


@pytest.mark.parametrize(("fan_in", "fan_out"), WIDTHS)
def test_forward_mode_is_flaxs(fan_in, fan_out):
    inputs, params = data(fan_in, fan_out)

    @jax.jit
    def slopes(p, x):
        return [jax.jvp(layer.apply, (p, x), (p, jnp.ones_like(x)))[1] for layer in layers(fan_out)]

    assert_close(*slopes(params, inputs))


@pytest.mark.parametrize(("platform", "transposed"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_only_a_cpu_transposes(platform, transposed):
    inputs, params = data(5, 9)
    ours, _ = layers(9)
    program = jax.jit(lambda x, p: gradient(ours, x, p)).trace(inputs, params)
    assert ("optimization_barrier" in program.lower(lowering_platforms=(platform,)).as_text()) == transposed


def test_a_precision_is_refused_by_name():
    layer = nn.Dense(3, dot_general=dense_product, precision="highest")
    with pytest.raises(ValueError, match="dense_product: precision must be None"):
        layer.init(jax.random.key(0), jnp.zeros((2, 2)))
