"""The routing of real Equinox modules, against a table and against the same matrices kept fan-in first."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry import MatrixView
from geometry.matrices import leaves_by_path, tree_shapes
from optim import Route, describe, equinox_routing, muon

OTHER = Route("other")


class Model(eqx.Module):
    embed: eqx.nn.Embedding
    pos_embed: jax.Array
    patches: eqx.nn.Conv2d
    grow: eqx.nn.ConvTranspose1d
    attention: eqx.nn.MultiheadAttention
    body: eqx.nn.Sequential
    layers: eqx.nn.Linear
    cell: eqx.nn.GRUCell
    memory: eqx.nn.LSTMCell
    gain: jax.Array
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = iter(jax.random.split(key, 12))
        self.embed = eqx.nn.Embedding(7, 4, key=next(keys))
        self.pos_embed = jnp.ones((5, 4))
        self.patches = eqx.nn.Conv2d(3, 5, 3, key=next(keys))
        self.grow = eqx.nn.ConvTranspose1d(3, 5, 2, key=next(keys))
        self.attention = eqx.nn.MultiheadAttention(2, 6, key=next(keys))
        normed = eqx.nn.LayerNorm((4, 8))  # which no name tells
        self.body = eqx.nn.Sequential([eqx.nn.Linear(3, 5, key=next(keys)), normed])
        stack = jax.random.split(next(keys), 2)
        self.layers = eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 5, key=key))(stack)
        self.cell = eqx.nn.GRUCell(3, 4, key=next(keys))
        self.memory = eqx.nn.LSTMCell(3, 4, key=next(keys))
        self.gain = jnp.ones(4)
        self.head = eqx.nn.Linear(4, 7, key=next(keys))


def hidden(rows, columns, batch=(), blocks=()):
    return Route("hidden", MatrixView(rows, columns, batch, blocks))


PLAIN = hidden((1,), (0,))  # (out, in)
ROUTES = {
    "embed/weight": Route("embed", MatrixView((0,), (1,))),
    "pos_embed": Route("embed", MatrixView((0,), (1,))),
    "patches/weight": hidden((1, 2, 3), (0,)),
    "patches/bias": OTHER,  # (5, 1, 1)
    "grow/weight": hidden((1, 2), (0,)),
    "grow/bias": OTHER,
    **{f"attention/{name}_proj/weight": PLAIN for name in ("query", "key", "value", "output")},
    "body/layers/0/weight": PLAIN,
    "body/layers/0/bias": OTHER,
    "body/layers/1/weight": OTHER,
    "body/layers/1/bias": OTHER,
    "layers/weight": hidden((2,), (1,), (0,)),
    "layers/bias": OTHER,
    "cell/weight_ih": hidden((1,), (0,), blocks=(4, 4, 4)),
    "cell/weight_hh": hidden((1,), (0,), blocks=(4, 4, 4)),
    "cell/bias": OTHER,
    "cell/bias_n": OTHER,
    "memory/weight_ih": hidden((1,), (0,), blocks=(4, 4, 4, 4)),
    "memory/weight_hh": hidden((1,), (0,), blocks=(4, 4, 4, 4)),
    "memory/bias": OTHER,
    "gain": OTHER,
    "head/weight": Route("head", MatrixView((1,), (0,))),
    "head/bias": OTHER,
}


@pytest.fixture(scope="module")
def model():
    return eqx.filter_eval_shape(Model, jax.random.key(0))


def arrays(model):
    """What `eqx.filter(model, eqx.is_inexact_array)` leaves of it, as shapes."""
    return eqx.filter(model, lambda node: isinstance(node, jax.ShapeDtypeStruct))


def test_every_array_of_a_model_by_the_type_of_its_module(model):
    params, routing = arrays(model), equinox_routing(model)
    assert {path: routing.route(path, shape) for path, shape in tree_shapes(params).items()} == ROUTES
    describe(muon(0.1, routing=routing), params)  # without a warning, which would be an error


def test_a_step_is_that_of_the_matrices_kept_fan_in_first(model):
    params = arrays(model)
    rng = np.random.default_rng(0)
    gradient = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(p.dtype), params)
    tx = muon(1.0, momentum=0.0, nesterov=False, polar="svd", routing=equinox_routing(model))
    update = leaves_by_path(eqx.filter_jit(lambda g: tx.update(g, tx.init(g), g)[0])(gradient))
    drawn = leaves_by_path(gradient)

    def expected(matrix):  # -√max(1, out/in) U Vᵀ of an (in, out) matrix
        u, _, vt = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
        return -np.sqrt(max(1, matrix.shape[1] / matrix.shape[0])) * (u @ vt)

    def assert_equal(path, matrices_of):
        for found, given in zip(matrices_of(update[path]), matrices_of(drawn[path]), strict=True):
            np.testing.assert_allclose(found, expected(given), rtol=0, atol=2e-5)

    assert_equal("body/layers/0/weight", lambda w: [w.T])
    assert_equal("attention/output_proj/weight", lambda w: [w.T])
    assert_equal("patches/weight", lambda w: [np.stack([channel.ravel() for channel in w], axis=1)])
    assert_equal("layers/weight", lambda w: [w[0].T, w[1].T])
    assert_equal("cell/weight_hh", lambda w: [w[0:4].T, w[4:8].T, w[8:12].T])


def test_an_array_that_no_module_of_equinox_owns_is_refused_with_its_path():
    class Own(eqx.Module):
        mixing: jax.Array

    model = {"block": Own(jnp.ones((3, 4)))}
    with pytest.raises(ValueError, match=r"^block/mixing: no rule covers this leaf of shape \(3, 4\)"):
        muon(0.1, routing=equinox_routing(model)).init(model)


def test_by_flax_names_an_equinox_model_is_warned_of():
    model = {"body": eqx.nn.Linear(3, 5, key=jax.random.key(0)), "head": jnp.ones((5, 2))}
    with pytest.warns(UserWarning, match=r"body/weight: Equinox and PyTorch keep .*equinox_routing"):
        describe(muon(0.1), model)
