"""Haiku's names, of real modules: by_name knows them beside Flax's."""

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

from geometry import MatrixView
from geometry.matrices import tree_shapes
from optim import Route, by_name, describe, muon

PLAIN, STACKED = MatrixView((0,), (1,)), MatrixView((1,), (2,), (0,))
WIDTH = 6


class Block(hk.Module):
    def __call__(self, x):
        initial = hk.initializers.RandomNormal()
        x += hk.MultiHeadAttention(2, 3, w_init=initial, name="attention")(x, x, x)
        return x + hk.Linear(WIDTH)(hk.RMSNorm(-1)(x))


def network(images, ids):
    pixels = hk.Conv2DTranspose(6, 3)(hk.Conv2D(5, 3)(images))
    hk.BatchNorm(True, True, 0.9)(pixels, is_training=True)
    x = hk.Embed(11, WIDTH)(ids) + hk.get_parameter("pos_embs", (5, WIDTH), init=jnp.zeros)
    x = hk.experimental.layer_stack(3)(lambda x: Block()(x))(x)
    x = hk.nets.MLP([9, WIDTH])(hk.LayerNorm(-1, True, True)(x))
    cell = hk.GRU(4)
    cell(x[:, 0], cell.initial_state(2))
    return hk.Linear(11, name="logits")(x)


@pytest.fixture(scope="module")
def params():
    initialise = hk.transform_with_state(network).init
    inputs = jnp.zeros((2, 8, 8, 3)), jnp.zeros((2, 5), int)
    with jax.numpy_rank_promotion("allow"):  # as Haiku's modules do
        shapes, _ = jax.eval_shape(initialise, jax.random.key(0), *inputs)
    return shapes


MATRICES = {
    "conv2_d/w": Route("hidden", MatrixView((0, 1, 2), (3,))),  # (height, width, in, out)
    "conv2_d_transpose/w": Route("hidden", MatrixView((0, 1, 3), (2,))),  # (height, width, out, in)
    "embed/embeddings": Route("embed", PLAIN),
    "~/pos_embs": Route("embed", PLAIN),
    "gru/w_i": Route("hidden", PLAIN),
    "gru/w_h": Route("hidden", PLAIN),
    "mlp/~/linear_0/w": Route("hidden", PLAIN),
    "mlp/~/linear_1/w": Route("hidden", PLAIN),
    "logits/w": Route("head", PLAIN),
    **{
        f"__layer_stack_no_per_layer/block/{layer}/w": Route("hidden", STACKED)
        for layer in ("attention/query", "attention/key", "attention/value", "attention/linear", "linear")
    },
}


def test_every_parameter_of_a_network(params):
    assert params["conv2_d_transpose"]["w"].shape == (3, 3, 6, 5)  # six channels of five
    for path, shape in tree_shapes(params).items():
        assert by_name(path, shape) == MATRICES.get(path, Route("other")), path
    assert MATRICES.keys() <= tree_shapes(params).keys()
    describe(muon(0.1), params)  # without a warning, which would be an error
