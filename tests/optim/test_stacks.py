"""Layers stacked by a scan and experts stacked by a map: each is a matrix of its own, in real modules."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from geometry import MatrixView
from geometry.matrices import leaves_by_path, tree_shapes
from optim import STACKED, Routing, by_name, muon

LAYERS, EXPERTS, WIDTH, HEADS, DIM, HIDDEN = 3, 4, 6, 2, 5, 9


class Experts(nn.Module):
    @nn.compact
    def __call__(self, x):
        mlps = nn.vmap(
            nn.Dense,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,
            axis_size=EXPERTS,
        )
        return x + jnp.sum(mlps(WIDTH, name="experts")(x), axis=0)


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        x = nn.Conv(WIDTH, (3,))(nn.LayerNorm(name="norm")(x))
        x += nn.MultiHeadDotProductAttention(HEADS, qkv_features=HEADS * DIM, name="attention")(x)
        hidden = nn.relu(nn.Dense(HIDDEN, name="up")(x))
        return Experts(name="moe")(x + nn.Dense(WIDTH, name="down")(hidden)), None


class Scanned(nn.Module):
    name_of_stack: str | None

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(7, WIDTH)(tokens)
        layers = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=LAYERS)
        x, _ = layers(name=self.name_of_stack)(x, None)
        return nn.Dense(7, name="head")(x)


class NNXExpert(nnx.Linear):
    def __init__(self, rngs):
        super().__init__(WIDTH, WIDTH, rngs=rngs)


class NNXLayer(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.conv = nnx.Conv(WIDTH, WIDTH, (3,), rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, HEADS * DIM, decode=False, rngs=rngs)
        self.up = nnx.Linear(WIDTH, HIDDEN, rngs=rngs)
        self.experts = nnx.split_rngs(splits=EXPERTS)(nnx.vmap(NNXExpert))(rngs)


class NNXModel(nnx.Module):
    def __init__(self, rngs, listed):
        if listed:
            self.layers = nnx.List([NNXLayer(rngs) for _ in range(LAYERS)])
        else:
            self.layers = nnx.split_rngs(splits=LAYERS)(nnx.vmap(NNXLayer))(rngs)
        self.head = nnx.Linear(WIDTH, 7, rngs=rngs)


def linen_params(name):
    shapes = jax.eval_shape(Scanned(name).init, jax.random.key(0), jnp.zeros((1, 5), int))
    return shapes["params"]


def nnx_params(listed):
    return nnx.state(nnx.eval_shape(lambda: NNXModel(nnx.Rngs(0), listed)), nnx.Param)


def update_of(shapes, **options):
    """An orthogonal update of gradients drawn at random."""
    rng = np.random.default_rng(0)
    gradients = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)
    tx = muon(1.0, momentum=0.0, nesterov=False, polar="svd", scale=None, **options)
    updates = jax.jit(lambda g: tx.update(g, tx.init(g), g)[0])(gradients)
    return leaves_by_path(jax.device_get(updates))


# of each layer, by the end of its path: how many rows its matrix has
ROWS = {
    "conv/kernel": 3 * WIDTH,
    "Conv_0/kernel": 3 * WIDTH,
    "attention/query/kernel": WIDTH,
    "attention/key/kernel": WIDTH,
    "attention/value/kernel": WIDTH,
    "attention/out/kernel": HEADS * DIM,
    "up/kernel": WIDTH,
    "down/kernel": HIDDEN,
    "experts/kernel": WIDTH,
}


def assert_isometries(stack, rows, axes):
    """All singular values of every matrix are 1; float32."""
    for index in np.ndindex(stack.shape[:axes]):
        matrix = np.asarray(stack[index], np.float64).reshape(rows, -1)
        singular = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(singular, np.ones(min(matrix.shape)), rtol=0, atol=2e-5)


MODELS = {
    "Linen's scan": lambda: linen_params("layers"),
    "Linen's scan without a name": lambda: linen_params(None),
    "NNX's vmap": lambda: nnx_params(listed=False),
}


@pytest.mark.parametrize("model", MODELS)
def test_every_layer_and_expert_of_a_stack_is_orthogonalised_on_its_own(model):
    params = MODELS[model]()
    updates, shapes = update_of(params), tree_shapes(params)
    kinds = {path: Routing().route(path, shape).kind for path, shape in shapes.items()}
    for path in shapes:
        rows = next((rows for end, rows in ROWS.items() if path.endswith(end)), None)
        if rows is None:
            named = {"head/kernel": "head", "Embed_0/embedding": "embed"}
            assert kinds[path] == named.get(path, "other")
        else:
            assert kinds[path] == "hidden"
            assert_isometries(updates[path], rows, 2 if "experts" in path else 1)
    found = [path for path, kind in kinds.items() if kind == "hidden"]
    assert len(found) == (8 if "Linen" in model else 7)


def test_a_list_of_layers_is_no_stack():
    params = nnx_params(listed=True)
    updates = update_of(params)
    for layer in range(LAYERS):
        for end in ("conv/kernel", "attention/query/kernel", "attention/out/kernel", "up/kernel"):
            assert_isometries(updates[f"layers/{layer}/{end}"], ROWS[end], 0)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("layers/moe/experts", (2, 4, 8, 16)),
        ("layers/moe/wi", (2, 4, 8, 16)),
        ("layers/moe/wo/kernel", (2, 4, 8, 16)),
        ("decoder/layers/moe/expert/wi_0/kernel", (2, 4, 8, 16)),
        ("ScanLayer_0/VmapMLP_0/Dense_0/kernel", (2, 4, 8, 16)),
    ],
)
def test_each_expert_of_each_layer_has_singular_values_of_one(path, shape):
    tree = jax.ShapeDtypeStruct(shape, np.float32)
    for name in reversed(path.split("/")):
        tree = {name: tree}
    assert_isometries(update_of(tree)[path], 8, 2)


def view(rows, columns, batch=()):
    return MatrixView(rows, columns, batch)


STACKS = {
    "moe/wi": ((4, 8, 16), view((1,), (2,), (0,))),
    "layers/mlp/wi_0/kernel": ((2, 8, 16), view((1,), (2,), (0,))),  # a plain MLP's, scanned
    "mlp/wi/kernel": ((8, 16), view((0,), (1,))),
    "blocks/attn/wo": ((2, 3, 5, 8), view((1, 2), (3,), (0,))),
    "attn/wo": ((3, 5, 8), view((0, 1), (2,))),
    "blocks/attn/wq": ((2, 8, 3, 5), view((1,), (2, 3), (0,))),
    "layers/query_proj/kernel": ((2, 8, 3, 5), view((1,), (2, 3), (0,))),
    "layers/q_proj/kernel": ((2, 8, 15), view((1,), (2,), (0,))),
    "layers/Conv_0/kernel": ((2, 3, 3, 4, 8), view((1, 2, 3), (4,), (0,))),
    "blocks/layers_0/attention/query/kernel": ((8, 3, 5), view((0,), (1, 2))),  # nn.Sequential's list
    "layers_0/conv/kernel": ((3, 3, 4, 8), view((0, 1, 2), (3,))),
    "layers/Dense_0/kernel": ((4, 8), view((0,), (1,))),  # in a module called layers
}


@pytest.mark.parametrize("path", STACKS)
def test_leading_axes_count_matrices_where_names_say_stack(path):
    shape, expected = STACKS[path]
    route = by_name(path, shape)
    assert route.kind == "hidden"
    assert route.view == expected


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("mlp/kernel", (2, 8, 16)),
        ("mlp/kernel", (2, 4, 8, 16)),
        ("dense/kernel", (3, 3, 4, 8)),  # a convolution, but nothing says so
        ("wq", (2, 8, 3, 5)),
        ("query_proj/kernel", (2, 8, 3, 5)),
        ("moe/wi", (2, 4, 8, 16)),
        ("layers/mlp/kernel", (2, 4, 8, 16)),
        ("layers/0/mlp/kernel", (2, 8, 16)),
        ("layers/fc/w", (4, 8)),  # a matrix of a container, or vectors of a stack
        ("blocks/temperature", (4, 8)),
    ],
)
def test_what_names_leave_open_is_refused_with_the_leaf_and_its_shape(path, shape):
    with pytest.raises(ValueError, match=rf"^{path}: no rule .* \({', '.join(map(str, shape))}\)"):
        Routing().route(path, shape)


@pytest.mark.parametrize(
    "path",
    [
        "layers/norm/weight",
        "layers/ln_1/weight",
        "layers/input_layernorm/weight",
        "blocks/attn_norm",
        "layers/mlp/gamma",
        "layers/mlp/b",
        "layers/mlp/b_up",
        "scan/dense/offset",
    ],
)
def test_stacked_vectors_are_no_matrices(path):
    assert by_name(path, (3, 8)).kind == "other"


def test_stacks_are_the_users_to_name():
    shape, stacked = (3, 4, 8), view((1,), (2,), (0,))
    assert by_name("tower/dense/kernel", shape) is None
    assert by_name("tower/dense/kernel", shape, stacked=(*STACKED, "tower")).view == stacked
    assert by_name("layers/query/kernel", shape, stacked=()).view == view((0,), (1, 2))
    heads = by_name("layers/query/kernel", (2, *shape), heads="separate")
    assert heads.view == view((1,), (3,), (0, 2))
