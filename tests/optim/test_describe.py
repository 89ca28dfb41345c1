"""The table of what an optimizer does with each leaf, against the same table written by hand."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from geometry import PLAIN, MatrixView, NewtonSchulz
from optim import (
    Decay,
    LeafPlan,
    Routing,
    by_name,
    descend,
    describe,
    muon,
    routed,
    scale_by_polar,
    signum,
)

RATE, FALLBACK_RATE, LAMBDA, FALLBACK_LAMBDA = 0.02, 0.001, 0.1, 0.5
READS, WRITES = MatrixView((0,), (1, 2)), MatrixView((0, 1), (2,))
ATTENTION = "block_0/attention"
MATRICES = {  # shape, view, √max(1, out/in)
    "conv/kernel": ((3, 6, 6), MatrixView((0, 1), (2,)), 1.0),
    **{
        f"{ATTENTION}/{name}/kernel": ((6, 2, 4), READS, math.sqrt(8 / 6))
        for name in ("query", "key", "value")
    },
    f"{ATTENTION}/out/kernel": ((2, 4, 6), WRITES, 1.0),
    "block_0/up/kernel": ((6, 12), PLAIN, math.sqrt(2)),
    "block_0/down/kernel": ((12, 6), PLAIN, 1.0),
}
OTHERS = {
    "embed/embedding": ((5, 6), "embed"),
    "head/kernel": ((6, 5), "head"),
    "head/bias": ((5,), "other"),
    "conv/bias": ((6,), "other"),
    **{f"block_0/norm_{place}/{name}": ((6,), "other") for place in (0, 1) for name in ("scale", "bias")},
    **{f"{ATTENTION}/{name}/bias": ((2, 4), "other") for name in ("query", "key", "value")},
    f"{ATTENTION}/out/bias": ((6,), "other"),
    "block_0/up/bias": ((12,), "other"),
    "block_0/down/bias": ((6,), "other"),
}


def expected_rows(rate=RATE):
    hidden = {
        path: LeafPlan(path, shape, "hidden", view, (scale,), (rate * scale,), rate * LAMBDA)
        for path, (shape, view, scale) in MATRICES.items()
    }
    others = {
        path: LeafPlan(path, shape, route, None, (1.0,), (FALLBACK_RATE,), FALLBACK_RATE * FALLBACK_LAMBDA)
        for path, (shape, route) in OTHERS.items()
    }
    return {**hidden, **others}


def rows_of(tx, params, *state):
    leaves = describe(tx, params, *state).leaves
    assert [leaf.shape for leaf in leaves] == [leaf.shape for leaf in jax.tree.leaves(params)]  # in order
    return {leaf.path: leaf for leaf in leaves}


def assert_rows(found, expected):
    """Equal, the rates up to float32."""
    assert found.keys() == expected.keys()
    for path, row in expected.items():
        assert found[path][:5] == row[:5]
        for known, number in (
            (found[path].learning_rates, row.learning_rates),
            (found[path].decay, row.decay),
        ):
            assert known is None if number is None else known == pytest.approx(number, rel=1e-6)


def method(make=muon, **options):
    return make(
        **{"learning_rate": RATE, **options},
        weight_decay=LAMBDA,
        fallback_learning_rate=FALLBACK_RATE,
        fallback_weight_decay=FALLBACK_LAMBDA,
    )


def as_it_is(tx):
    return tx


def in_multi_steps(tx):
    return optax.MultiSteps(tx, every_k_schedule=2).gradient_transformation()


FALLING = optax.linear_schedule(RATE, 0.0, 10)
WRAPPED = {
    "alone": method(),
    "a schedule": method(learning_rate=FALLING),
    "chain": optax.chain(optax.clip_by_global_norm(1.0), method()),
    "MultiSteps": in_multi_steps(method()),
    "inject_hyperparams": method(optax.inject_hyperparams(muon)),
    "an injected schedule": method(optax.inject_hyperparams(muon), learning_rate=FALLING),
    "MultiSteps of inject_hyperparams in a chain": optax.chain(
        optax.zero_nans(), in_multi_steps(method(optax.inject_hyperparams(muon)))
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_every_leaf_of_a_transformer_whatever_is_around_the_method(name, linen_transformer):
    assert_rows(rows_of(WRAPPED[name], linen_transformer), expected_rows())


def test_nnx_and_arrays_are_described_as_linen_and_shapes(nnx_transformer):
    assert_rows(rows_of(method(), nnx.state(nnx_transformer, nnx.Param)), expected_rows())


@pytest.mark.parametrize("wrapper", [as_it_is, in_multi_steps], ids=["alone", "MultiSteps"])
def test_in_a_partition_of_the_users_own_other_leaves_are_unknown(wrapper, linen_transformer):
    def labels(params):
        return {name: "frozen" if name in ("embed", "conv") else "trained" for name in params}

    tx = wrapper(optax.partition({"trained": method(), "frozen": optax.set_to_zero()}, labels))
    expected = {
        path: LeafPlan(path, row.shape, None, None, (1.0,), None, None)
        if path.startswith(("embed", "conv"))
        else row
        for path, row in expected_rows().items()
    }
    assert_rows(rows_of(tx, linen_transformer), expected)


def test_two_methods_in_a_partition_each_describe_their_leaves(linen_transformer):
    def labels(params):
        return {name: "sign" if name == "head" else "spectral" for name in params}

    decay = Decay("independent", mask={"head": {"kernel": True, "bias": False}})
    sign = signum(0.5, weight_decay=0.5, decay=decay)
    partitioned = optax.partition({"sign": sign, "spectral": method()}, labels)
    rows = rows_of(optax.chain(routed(optax.identity(), optax.identity()), partitioned), linen_transformer)
    expected = expected_rows()
    expected["head/kernel"] = LeafPlan("head/kernel", (6, 5), "head", None, (1.0,), (0.5,), 0.5)
    expected["head/bias"] = LeafPlan("head/bias", (5,), "other", None, (1.0,), (0.5,), 0.0)
    assert_rows(rows, expected)


SMALL = {"dense": {"kernel": (2, 8), "bias": (8,)}, "head": {"kernel": (8, 2)}}


@pytest.mark.parametrize(
    ("make", "wrapper", "every"),
    [(muon, as_it_is, 1), (muon, in_multi_steps, 2), (optax.inject_hyperparams(muon), as_it_is, 1)],
    ids=["alone", "MultiSteps", "inject_hyperparams"],
)
def test_with_a_state_the_rates_are_those_of_its_last_step(make, wrapper, every, draw):
    tx = wrapper(method(make, learning_rate=lambda t: 0.1 * 0.5**t, polar=NewtonSchulz(steps=1)))
    params, gradients = draw(SMALL, 4)
    params = jax.tree.map(jnp.asarray, params)
    state, update = tx.init(params), jax.jit(tx.update)
    for steps in range(5):
        rows = rows_of(tx, params, state)
        last = 0.1 * 0.5 ** max(steps // every - 1, 0)
        assert rows["dense/kernel"].learning_rates == pytest.approx((2 * last,), rel=1e-6)  # √(8/2)
        assert rows["dense/kernel"].decay == pytest.approx(last * LAMBDA, rel=1e-6)
        assert rows["head/kernel"].learning_rates == pytest.approx((FALLBACK_RATE,), rel=1e-6)
        if steps < 4:
            _, state = update(gradients[steps], state, params)


def shapes(tree):
    return jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s, np.float32), tree, is_leaf=lambda node: isinstance(node, tuple)
    )


def test_what_plain_optax_does_is_left_open():
    tx = routed(optax.chain(scale_by_polar(scale="rms"), descend(0.5)), optax.adamw(1e-3))
    scale = 0.2 * math.sqrt(8)
    expected = [
        LeafPlan("dense/bias", (8,), "other", None, (1.0,), None, None),
        LeafPlan("dense/kernel", (2, 8), "hidden", PLAIN, (scale,), (0.5 * scale,), 0.0),
        LeafPlan("head/kernel", (8, 2), "head", None, (1.0,), None, None),
    ]
    assert_rows(rows_of(tx, shapes(SMALL)), {row.path: row for row in expected})


def test_a_model_without_a_head_is_warned_of():
    tree = shapes({"dense": {"kernel": (2, 8)}, "readout": {"kernel": (8, 2)}})
    with pytest.warns(UserWarning, match="no leaf was recognised as the output head"):
        description = describe(method(), tree)
    assert [leaf.route for leaf in description.leaves] == ["hidden", "hidden"]
    describe(signum(0.1), tree)  # tells no hidden matrices apart: no warning, which would be an error


def test_the_printed_table_has_headings_and_a_line_for_each_leaf():
    def rule(path, shape):
        return by_name(path, shape, heads="separate", fused={"qkv": (8, 2)})

    attention = {"qkv": {"kernel": (2, 10), "bias": (10,)}, "out": {"kernel": (3, 4, 6)}}
    tree = shapes({**attention, "head": {"kernel": (6, 5)}, "t": ()})
    tx = method(learning_rate=0.5, routing=Routing(rule))
    table = [re.split(r"\s{2,}", line) for line in str(describe(tx, tree)).splitlines()]
    assert table == [
        ["leaf", "shape", "route", "matrices", "scale", "learning rate", "decay"],
        ["head/kernel", "6×5", "head", "–", "–", "0.001", "0.0005"],
        ["out/kernel", "3×4×6", "hidden", "3 of 4×6", "1.225", "0.6124", "0.05"],
        ["qkv/bias", "10", "other", "–", "–", "0.001", "0.0005"],
        ["qkv/kernel", "2×10", "hidden", "2×8 + 2×2", "2 1", "1 0.5", "0.05"],
        ["t", "scalar", "other", "–", "–", "0.001", "0.0005"],
    ]
