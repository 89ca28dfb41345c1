"""Every parameter of real models against a table of what it is, and routed updates in both Flax APIs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from geometry import PLAIN, MatrixView, NewtonSchulz
from geometry.matrices import tree_shapes
from optim import Route, Routing, by_name, muon, routed
from workloads import load

VECTOR = Route("other")
HIDDEN = Route("hidden", PLAIN)
READS, WRITES = MatrixView((0,), (1, 2)), MatrixView((0, 1), (2,))
EACH_READS, EACH_WRITES = MatrixView((0,), (2,), batch=(1,)), MatrixView((1,), (2,), batch=(0,))

DIGITS = {
    "mlp": {
        "params/Dense_0/kernel": HIDDEN,
        "params/Dense_0/bias": VECTOR,
        "params/head/kernel": Route("head", PLAIN),
        "params/head/bias": VECTOR,
    },
    "cnn": {
        "params/Conv_0/kernel": Route("hidden", MatrixView((0, 1, 2), (3,))),
        "params/Conv_0/bias": VECTOR,
        "params/Conv_1/kernel": Route("hidden", MatrixView((0, 1, 2), (3,))),
        "params/Conv_1/bias": VECTOR,
        "params/head/kernel": Route("head", PLAIN),
        "params/head/bias": VECTOR,
    },
}

TRANSFORMER = {
    "embed/embedding": Route("embed", PLAIN),
    "conv/kernel": Route("hidden", MatrixView((0, 1), (2,))),
    "conv/bias": VECTOR,
    "block_0/norm_0/scale": VECTOR,
    "block_0/norm_0/bias": VECTOR,
    "block_0/attention/query/kernel": Route("hidden", READS),
    "block_0/attention/query/bias": VECTOR,  # (heads, dim)
    "block_0/attention/key/kernel": Route("hidden", READS),
    "block_0/attention/key/bias": VECTOR,
    "block_0/attention/value/kernel": Route("hidden", READS),
    "block_0/attention/value/bias": VECTOR,
    "block_0/attention/out/kernel": Route("hidden", WRITES),
    "block_0/attention/out/bias": VECTOR,
    "block_0/norm_1/scale": VECTOR,
    "block_0/norm_1/bias": VECTOR,
    "block_0/up/kernel": HIDDEN,
    "block_0/up/bias": VECTOR,
    "block_0/down/kernel": HIDDEN,
    "block_0/down/bias": VECTOR,
    "head/kernel": Route("head", PLAIN),
    "head/bias": VECTOR,
}
SEPARATE = {
    path: Route("hidden", {READS: EACH_READS, WRITES: EACH_WRITES}[route.view])
    for path, route in TRANSFORMER.items()
    if "attention" in path and route.view
}


def routes(params, routing):
    return {path: routing.route(path, shape) for path, shape in tree_shapes(params).items()}


@pytest.mark.parametrize("model", DIGITS)
def test_routes_of_the_models_of_this_house(model):
    params = jax.eval_shape(load("digits", model=model).init, jax.random.key(0))
    assert routes(params, Routing()) == DIGITS[model]


@pytest.mark.parametrize(
    ("heads", "expected"), [("flattened", TRANSFORMER), ("separate", {**TRANSFORMER, **SEPARATE})]
)
def test_routes_of_a_transformer_in_linen_and_in_nnx(heads, expected, linen_transformer, nnx_transformer):
    routing = Routing(lambda path, shape: by_name(path, shape, heads=heads))
    assert routes(linen_transformer, routing) == expected
    assert routes(nnx.state(nnx_transformer, nnx.Param), routing) == expected


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("wte/embedding", "embed"),
        ("wpe", "embed"),
        ("pos_embedding", "embed"),
        ("token_embedder/embedding", "embed"),
        ("emb", "embed"),
        ("Embed_0/embedding", "embed"),
        ("lm_head/kernel", "head"),
        ("Head/kernel", "head"),
        ("unembed/kernel", "head"),
        ("unembedding", "head"),
        ("LMHead_0/Dense_0/kernel", "head"),
        ("classifier/kernel", "head"),
        ("logits/kernel", "head"),
        ("logits_dense/kernel", "head"),
        ("pos_emb", "embed"),
        ("PosEmb_0/table", "embed"),
        ("header/kernel", "hidden"),
        ("patch_embed/kernel", "hidden"),
        ("attention_head/kernel", "hidden"),
        ("AttentionHead_0/Dense_0/kernel", "hidden"),
        ("multi_head/kernel", "hidden"),
        ("attention/head/kernel", "hidden"),
        ("attention/output/kernel", "hidden"),
        ("output/dense/kernel", "hidden"),
        ("heads/kernel", "hidden"),
        ("MultiHeadAttention_0/proj/kernel", "hidden"),
        ("wte_block/kernel", "hidden"),
        ("kernel", "hidden"),
        ("dense/w", "hidden"),
        ("query/bias", "other"),
        ("norm/scale", "other"),
        ("norm/weight", "other"),
        ("ln_1/w", "other"),
        ("dense/gamma", "other"),
        ("dense/b", "hidden"),  # a vector in stacks alone
    ],
)
def test_kinds_of_matrices_by_the_names_of_their_modules(path, kind):
    assert Routing().route(path, (4, 6)).kind == kind
    assert Routing().route(f"params/block_0/{path}", (4, 6)).kind == kind


@pytest.mark.parametrize("shape", [(), (3,)])
def test_vectors_and_scalars_are_other_whatever_their_name(shape):
    for path in ("head/kernel", "embed/embedding", "kernel", "temperature"):
        assert Routing().route(path, shape) == VECTOR


@pytest.mark.parametrize("name", ["output", "score", "output_layer"])
def test_outputs_and_scores_are_the_head_where_nothing_above_them_is_repeated(name):
    for prefix in ("", "params/", "decoder/"):
        assert by_name(f"{prefix}{name}/kernel", (4, 6)).kind == "head"
        assert by_name(f"{prefix}{name}", (4, 6)).kind == "head"
    for prefix in ("layers_0/", "layers/0/", "Block_3/", "attention/", "layers/"):
        assert by_name(f"{prefix}{name}/kernel", (4, 6)).kind == "hidden"
    assert by_name(f"layers/{name}/kernel", (2, 4, 6)).kind == "hidden"


@pytest.mark.parametrize("path", ["patch_embed/kernel", "patch_embed/proj_conv/kernel", "embed_conv/kernel"])
def test_a_convolution_is_never_an_embedding(path):
    assert by_name(path, (3, 3, 4, 8)) == Route("hidden", MatrixView((0, 1, 2), (3,)))


@pytest.mark.parametrize("make", [muon, lambda rate: routed(optax.sgd(rate), optax.adam(rate))])
def test_what_no_name_tells_is_refused_at_init_with_the_leaf_and_its_shape(make):
    params = {"tower": {"Dense_0": {"kernel": jnp.ones((4, 8, 8)), "bias": jnp.ones((4, 8))}}}
    with pytest.raises(ValueError, match=r"tower/Dense_0/kernel: .* shape \(4, 8, 8\)"):
        make(0.1).init(params)


def test_two_leaves_of_one_path_are_refused():
    params = {"a/b": jnp.ones((2, 3)), "a": {"b": jnp.ones((3, 2))}}
    for tx in (muon(0.1), routed(optax.sgd(0.1), optax.adam(0.1))):
        with pytest.raises(ValueError, match=r"^a/b: two leaves have this path"):
            tx.init(params)


VECTORS = {"norm": {"scale": jnp.ones(3)}, "bias": jnp.ones(3)}


@pytest.mark.parametrize(
    ("tx", "params"),
    [
        (muon(0.1), VECTORS),
        (optax.flatten(muon(0.1)), {"dense": {"kernel": jnp.ones((2, 3))}}),
        (routed(optax.sgd(0.1), optax.sgd(0.1), kinds=("embed", "head")), {"dense": jnp.ones((2, 3))}),
    ],
    ids=["vectors", "optax.flatten", "no embedding and no head"],
)
def test_a_matrix_method_without_a_matrix_warns(tx, params):
    with pytest.warns(UserWarning, match="so that all [12] take the fallback"):
        tx.init(params)


def test_a_part_of_a_model_may_have_no_matrix():
    # a warning would be an error
    params = {**VECTORS, "dense": jnp.ones((2, 3))}
    labels = {"norm": "slow", "bias": "slow", "dense": "fast"}
    optax.partition({"slow": muon(0.01), "fast": muon(0.1)}, labels).init(params)
    optax.masked(muon(0.1), {"norm": True, "bias": True, "dense": False}).init(params)
    muon(0.1).init({})


def test_a_rule_of_the_users_own_replaces_what_it_covers(run, draw):
    stacked = MatrixView((1,), (2,), batch=(0,))

    def rule(path, shape):
        return Route("hidden", stacked) if path.startswith("tower/") else by_name(path, shape)

    params, gradients = draw({"tower": {"kernel": (2, 3, 4)}, "dense": {"kernel": (3, 4)}}, 2)
    tx = muon(0.1, polar="svd", routing=Routing(rule))
    joined = run(tx, params, gradients)[-1]
    for layer in range(2):  # as two layers apart
        start, *steps = [{"kernel": tree["tower"]["kernel"][layer]} for tree in (params, *gradients)]
        single = run(tx, start, steps)[-1]
        np.testing.assert_allclose(joined["tower"]["kernel"][layer], single["kernel"], rtol=0, atol=1e-5)
    assert Routing(rule).route("dense/kernel", (3, 4)) == HIDDEN


@pytest.mark.parametrize(
    ("route", "message"),
    [
        (Route("hidden", MatrixView((0,), (2,))), "must name every axis"),
        (Route("hidden", MatrixView((0,), (1,), blocks=(5,))), "blocks must add up"),
        (Route("hidden"), "a route of kind 'hidden' needs a view"),
        (Route("head"), "a route of kind 'head' needs a view"),
        (None, "no rule covers this leaf"),
    ],
)
def test_a_rule_with_a_route_that_does_not_fit_is_refused_at_init_with_the_leaf(route, message):
    tx = muon(0.1, routing=Routing(lambda path, shape: route))
    with pytest.raises(ValueError, match=f"^dense/kernel: .*{message}"):
        tx.init({"dense": {"kernel": jnp.ones((3, 4))}})


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do():
    # a bare tuple, which no annotation checks
    route = Route._make(("body", PLAIN))
    with pytest.raises(ValueError, match=r"^dense/kernel: .* one of \['hidden', 'embed', 'head', 'other'\]"):
        muon(0.1, routing=Routing(lambda path, shape: route)).init({"dense": {"kernel": jnp.ones((3, 4))}})


def test_heads_has_two_values():
    # the suite's type checker may be the first to see it
    with pytest.raises((ValueError, TypeError), match="heads"):
        Routing(lambda path, shape: by_name(path, shape, heads="joined")).route("kernel", (2, 2))


@pytest.mark.parametrize(
    ("kinds", "moved_by_matrices"),
    [
        (("hidden",), {path for path, route in TRANSFORMER.items() if route.kind == "hidden"}),
        (("embed", "head"), {"embed/embedding", "head/kernel"}),
    ],
)
def test_routed_divides_the_leaves_of_an_nnx_state_by_kind(kinds, moved_by_matrices, nnx_transformer):
    params = nnx.state(nnx_transformer, nnx.Param)
    tx = routed(optax.scale(-2.0), optax.scale(3.0), kinds=kinds)
    updates = jax.jit(lambda p: tx.update(jax.tree.map(jnp.ones_like, p), tx.init(p), p)[0])(params)
    for path, shape in tree_shapes(params).items():
        leaf = dict(zip(tree_shapes(updates), jax.tree.leaves(updates), strict=True))[path]
        np.testing.assert_array_equal(leaf, np.full(shape, -2.0 if path in moved_by_matrices else 3.0))


def test_a_step_of_nnxs_optimizer_is_that_of_linens_parameters(nnx_transformer, linen_transformer, run):
    params = nnx.to_pure_dict(nnx.state(nnx_transformer, nnx.Param))
    assert jax.tree.structure(params) == jax.tree.structure(linen_transformer)
    params = jax.tree.map(np.asarray, params)  # before the step below changes the model
    rng = np.random.default_rng(0)
    gradients = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
    tx = muon(0.1, weight_decay=0.1, fallback_learning_rate=0.01, polar=NewtonSchulz(steps=1))

    state = nnx.state(nnx_transformer, nnx.Param)
    nnx.replace_by_pure_dict(state, jax.device_put(gradients))
    step = nnx.jit(lambda model, gradient: nnx.Optimizer(model, tx, wrt=nnx.Param).update(model, gradient))
    step(nnx_transformer, state)

    (expected,) = run(tx, params, [gradients])
    found = nnx.to_pure_dict(nnx.state(nnx_transformer, nnx.Param))
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=0, atol=1e-5), found, expected)
    assert all(jax.tree.leaves(jax.tree.map(lambda f, p: np.any(np.asarray(f) != p), found, params)))
