"""FLOPs counted from jaxprs, against closed forms."""

import jax
import jax.numpy as jnp
import pytest

from experiments.throughput.training import SETTINGS, Setting, images, step_flops, tokens
from optim.flops import matrix_flops
from workloads.images import CNN, MLP
from workloads.transformer import SIZES


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_a_batched_product():
    assert matrix_flops(lambda a, b: a @ b, array(5, 2, 3), array(5, 3, 4)) == 2 * 5 * 2 * 3 * 4


def test_a_convolution_with_groups_and_stride():
    def convolve(images, kernel):
        return jax.lax.conv_general_dilated(
            images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
        )

    assert matrix_flops(convolve, array(3, 8, 8, 4), array(3, 3, 2, 6)) == 2 * (3 * 4 * 4 * 6) * (3 * 3 * 2)


def test_a_scan_counts_every_step_and_a_branch_its_longest():
    def steps(a):
        def step(x, _):
            return jax.lax.cond(x[0, 0] > 0, lambda x: x @ a, lambda x: x @ a @ a, x), None

        return jax.lax.scan(step, a, None, length=7)

    assert matrix_flops(steps, array(3, 3)) == 7 * 2 * 2 * 3**3


def test_a_loop_of_unknown_length_is_refused():
    def loop(a):
        return jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ x, a)

    with pytest.raises(ValueError, match="a loop of unknown length"):
        matrix_flops(loop, array(3, 3))


def test_a_look_up_is_no_product():
    def embed(ids, table):
        return jax.nn.one_hot(ids, 11) @ table @ table.T

    ids = jax.ShapeDtypeStruct((5,), jnp.int32)
    assert matrix_flops(embed, ids, array(11, 3)) == 2 * 5 * 3 * 11


def test_training_step_of_the_cifar10_network():
    """Forward and the kernels' gradients, and the inputs' but for the images."""
    first = 2 * 64 * 32 * 32 * (3 * 3 * 3) * 32
    second = 2 * 64 * 16 * 16 * (3 * 3 * 32) * 64
    dense = 2 * 64 * (8 * 8 * 64 * 256 + 256 * 10)
    (setting,) = (setting for setting in SETTINGS if setting.name == "CIFAR-10 CNN")
    assert step_flops(setting) == 2 * first + 3 * second + 3 * dense
    assert round(step_flops(setting) / 1e9, 2) == 2.44


def test_training_step_of_a_dense_network():
    setting = Setting("", lambda: images(MLP(10, (16,)), 4, 4, 1), batch_size=8, steps=1)
    assert step_flops(setting) == 2 * 8 * (2 * 16 * 16 + 3 * 16 * 10)


def test_training_step_of_a_network_of_one_convolution():
    setting = Setting("", lambda: images(CNN(10, (5,)), 6, 6, 2), batch_size=3, steps=1)
    assert step_flops(setting) == 2 * 3 * (2 * 6 * 6 * 9 * 2 * 5 + 3 * 3 * 3 * 5 * 10)


def test_training_step_of_a_transformer():
    """Twelve width² weights a block, the head, and two products of attention, all three times."""
    vocabulary, batch = 50, 4
    width, layers, _, time = SIZES["laptop"]
    setting = Setting("", lambda: tokens(vocabulary, SIZES["laptop"]), batch, steps=1)
    weights = batch * time * (layers * 12 * width**2 + width * vocabulary)
    attention = layers * batch * 2 * time * time * width
    assert step_flops(setting) == 3 * 2 * (weights + attention)
