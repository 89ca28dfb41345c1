"""Parameters sharded in every way, over Auto and Explicit mesh axes, step as unsharded ones do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from geometry import PolarExpress
from optim import Choice, Routing, by_name, muon, orth_dion, scale_by_polar, signum, spec_sign
from optim.plan import heard

STEPS, EXACT = 3, 1e-12
SHAPES = {  # one size of hidden matrices in all, 8×16, so that programs are small
    "bias": (8,),
    "conv/kernel": (2, 2, 2, 16),
    "dense/kernel": (8, 16),
    "embed/embedding": (16, 8),
    "key/kernel": (8, 4, 16),  # a matrix for each head
    "qkv/kernel": (8, 32),
    "query/kernel": (8, 4, 4),  # one matrix
}
SPECS = {  # the fan-in sharded, the fan-out, or both; more axes than one of each where there are
    "bias": ((), ("y",), (("x", "y"),)),
    "conv/kernel": (("x", None, None), (None, None, None, "y"), (None, "x", None, "y")),
    "qkv/kernel": (("y",), (None, "y"), ("x", "y")),
}
MATRIX = (("y",), (None, "y"), ("x", "y"))
LAYOUTS = ("rows", "columns", "both")


def rule(path, shape):
    heads = "separate" if "key" in path else "flattened"
    return by_name(path, shape, heads=heads, fused={"qkv": (16, 16)})


ROUTING = Routing(rule)
TO_SIGN = Choice(lambda gradients: jax.tree.map(lambda g: -jnp.sum(g**2), gradients), every=2)
METHODS = {  # `test_optax_contract` has those that differ from these in their products alone
    "signum": lambda: signum(0.1),
    "muon": lambda: muon(0.1, routing=ROUTING),
    "orth_dion": lambda: orth_dion(0.1, rank_fraction=0.5, routing=ROUTING),
    "spec_sign": lambda: spec_sign(0.1, choice=TO_SIGN, routing=ROUTING),
}


@pytest.fixture(autouse=True)
def x64():
    assert jax.device_count() == 8
    with jax.enable_x64(True):
        yield


def specs(layout):
    """Of every leaf; "mixed" gives neighbours in the tree different layouts."""
    return {
        leaf: PartitionSpec(
            *SPECS.get(leaf, MATRIX)[place % 3 if layout == "mixed" else LAYOUTS.index(layout)]
        )
        for place, leaf in enumerate(SHAPES)
    }


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {leaf: rng.normal(size=shape) for leaf, shape in SHAPES.items()}


def three_steps(tx, params, gradients):
    """All in one program, so that it compiles once: the last parameters, and the updates of every step."""

    def step(carry, gradient):
        params, state = carry
        updates, state = tx.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), updates

    (params, _), updates = jax.lax.scan(step, (params, tx.init(params)), gradients)
    return params, updates


def problem():
    """Parameters, and the gradients of all steps along a leading axis."""
    gradients = [drawn(seed + 1) for seed in range(STEPS)]
    return drawn(0), {leaf: np.stack([g[leaf] for g in gradients]) for leaf in SHAPES}


@functools.cache
def unsharded(method):
    return jax.device_get(jax.jit(functools.partial(three_steps, METHODS[method]()))(*problem()))


def mesh_of(kind):
    return jax.make_mesh((2, 4), ("x", "y"), axis_types=(kind, kind))


def assert_sharding_changes_nothing(method, kind, layout):
    params, gradients = problem()
    mesh, spec = mesh_of(kind), specs(layout)
    params = {leaf: jax.device_put(p, NamedSharding(mesh, spec[leaf])) for leaf, p in params.items()}
    gradients = {
        leaf: jax.device_put(g, NamedSharding(mesh, PartitionSpec(None, *spec[leaf])))
        for leaf, g in gradients.items()
    }
    stepped = jax.jit(functools.partial(three_steps, METHODS[method]()))(params, gradients)
    for computed, expected, given in zip(stepped, unsharded(method), (params, gradients), strict=True):
        for leaf, array in computed.items():
            np.testing.assert_allclose(array, expected[leaf], atol=EXACT, err_msg=leaf)
            if kind == AxisType.Explicit:
                assert array.sharding.is_equivalent_to(given[leaf].sharding, array.ndim), leaf


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *((method, AxisType.Explicit) for method in METHODS),  # which count as Auto inside the step
        *((method, AxisType.Auto) for method in ("muon", "orth_dion")),  # of matrices and of warm starts
    ],
)
def test_leaves_sharded_in_different_ways(method, kind):
    assert_sharding_changes_nothing(method, kind, "mixed")


@pytest.mark.parametrize(
    ("method", "layout", "kind"),
    [
        *(("muon", layout, AxisType.Explicit) for layout in LAYOUTS),
        *((method, "both", AxisType.Auto) for method in ("signum", "muon")),
    ],
)
def test_all_leaves_sharded_in_one_way(method, layout, kind):
    assert_sharding_changes_nothing(method, kind, layout)


def test_with_the_mesh_set():
    with jax.set_mesh(mesh_of(AxisType.Explicit)):
        assert_sharding_changes_nothing("muon", AxisType.Explicit, "both")


UNEVEN = {"down/kernel": (10, 6), "up/kernel": (6, 10)}


def uneven_problem():
    rng = np.random.default_rng(5)
    params = {leaf: rng.normal(size=shape) for leaf, shape in UNEVEN.items()}
    return params, {leaf: rng.normal(size=(STEPS, *shape)) for leaf, shape in UNEVEN.items()}


@pytest.mark.parametrize("method", ["muon", "orth_dion"])
def test_sizes_that_the_mesh_does_not_divide(method):
    tx, (params, gradients) = METHODS[method](), uneven_problem()
    expected, _ = jax.jit(functools.partial(three_steps, tx))(params, gradients)
    sharding = NamedSharding(mesh_of(AxisType.Auto), PartitionSpec("y", "x"))

    @jax.jit
    def sharded(params, gradients):
        params = jax.tree.map(lambda p: jax.lax.with_sharding_constraint(p, sharding), params)
        return three_steps(tx, params, gradients)

    stepped, _ = sharded(params, gradients)
    for leaf in UNEVEN:
        np.testing.assert_allclose(stepped[leaf], expected[leaf], atol=EXACT)


def test_explicit_axes_refuse_such_sizes_before_any_step():
    params, _ = uneven_problem()
    mesh = mesh_of(AxisType.Explicit)
    sharding = NamedSharding(mesh, PartitionSpec("y", "x"))
    with pytest.raises(ValueError, match=r"divisible|evenly divide"):
        jax.device_put(params["up/kernel"], sharding)
    with jax.set_mesh(mesh), pytest.raises(ValueError, match="evenly divide"):
        jax.jit(lambda p: jax.sharding.reshard(p, sharding))(params["up/kernel"])


SIZES = {"square": (3, (8, 8)), "down": (2, (16, 8)), "up": (5, (8, 16)), "long": (1, (32, 2**17))}


def test_packed_sizes_and_a_long_matrix_in_shards_are_those_of_one_device():
    rng = np.random.default_rng(3)
    gradients = {
        f"{name}_{place}": rng.normal(size=shape)
        for name, (count, shape) in SIZES.items()
        for place in range(count)
    }
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(gradients, NamedSharding(mesh, PartitionSpec("x")))
    tx = scale_by_polar(PolarExpress(steps=6))  # which sums up a second Gram matrix
    with heard() as placements:
        tx.init(sharded)
    _, large, packed = placements
    assert large.batches == ((1, (32, 2**17)),)
    assert not large.dealt
    assert [shape for _, shape in packed.batches] == [(16, 8), (8, 8), (8, 16)]
    assert len(set(packed.dealt)) > 1
    update = jax.jit(lambda tree: tx.update(tree, optax.EmptyState())[0])
    computed, expected = update(sharded), update(gradients)
    for name, array in computed.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=EXACT, err_msg=name)
