"""Workers on eight devices and under vmap; what goes over the wire, read from the compiled program."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from optim import (
    dion,
    distributed_signum,
    evaluation_params,
    lion_cub,
    local_sgd,
    on_workers,
    palsgd,
    post_local_sgd,
)

WORKERS, STEPS, SIZE = 8, 64, 24
EACH, ALL = PartitionSpec("workers"), PartitionSpec()
AXIS = {"axis_name": "workers", "workers": WORKERS}
LOCAL = {
    "local_sgd": lambda: local_sgd(optax.sgd(0.1, momentum=0.9), every=8, **AXIS),
    "post_local_sgd": lambda: post_local_sgd(optax.adam(0.1), every=8, start=20, **AXIS),
    "palsgd": lambda: palsgd(optax.adam(0.1), every=8, mix=0.1, start=5, **AXIS),
}
SIGNS = {
    "lion_cub": lambda: lion_cub(0.1, **AXIS),
    "lion_cub_synced": lambda: lion_cub(0.1, sync_every=10, scale="l0", **AXIS),
    "vote": lambda: lion_cub(0.1, scale="vote", **AXIS),
    "signum": lambda: distributed_signum(0.1, **AXIS),
}
LOW_RANK = {"dion": lambda: dion(0.1, rank=2, axis_name="workers")}
METHODS = LOCAL | SIGNS | LOW_RANK
RUNS = [  # inside, axes of either kind are Manual; an orthonormal basis makes more of float32's roundings
    *((name, jnp.float32, AxisType.Auto) for name in LOCAL | SIGNS),  # whose programs are read below
    *((name, jnp.float64, AxisType.Explicit) for name in ("palsgd", "lion_cub_synced", "dion")),
]
COMMON_PARAMS = SIGNS | LOW_RANK  # all workers step alike


def problem(dtype):
    """Curvatures and optima of every worker, and where all begin."""
    rng = np.random.default_rng(0)
    shape = (WORKERS, 4, SIZE // 4)
    curvatures, optima = rng.uniform(0.5, 2, shape), rng.normal(size=shape)
    return jax.tree.map(lambda x: {"kernel": x.astype(dtype)}, (curvatures, optima, np.ones(shape[1:])))


def gradient(params, curvature, optimum):
    return jax.tree.map(lambda x, h, o: h * (x - o), params, curvature, optimum)


def loop(tx, params, state, curvature, optimum):
    def step(carry, _):
        params, state = carry
        updates, state = tx.update(gradient(params, curvature, optimum), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, state), _ = jax.lax.scan(step, (params, state), length=STEPS)
    return params, evaluation_params(state, params)


def on_devices(name, kind):
    """The program of all workers, each on a device of its own: what they train, and what they evaluate."""
    common, tx = name in COMMON_PARAMS, METHODS[name]()
    mesh = jax.make_mesh((WORKERS,), ("workers",), axis_types=(kind,))

    def worker(curvature, optimum, params):
        curvature, optimum = jax.tree.map(lambda leaf: leaf[0], (curvature, optimum))
        state = tx.init(params)
        params = params if common else jax.lax.pcast(params, "workers", to="varying")
        params, evaluated = loop(tx, params, state, curvature, optimum)
        return jax.tree.map(lambda leaf: leaf[None], (params, evaluated))

    program = jax.shard_map(worker, mesh=mesh, in_specs=(EACH, EACH, ALL), out_specs=EACH)

    def placed(curvatures, optima, params):
        of_workers, of_all = NamedSharding(mesh, EACH), NamedSharding(mesh, ALL)
        return *jax.device_put((curvatures, optima), of_workers), jax.device_put(params, of_all)

    return jax.jit(program), placed


@pytest.mark.parametrize(("name", "dtype", "kind"), RUNS)
def test_devices_do_what_vmap_does(name, dtype, kind):
    with jax.enable_x64(dtype == jnp.float64):
        curvatures, optima, start = problem(dtype)
        tx = on_workers(METHODS[name](), WORKERS)
        stacked = jax.tree.map(lambda leaf: np.stack([leaf] * WORKERS), start)
        mapped = jax.jit(lambda params, *problems: loop(tx, params, tx.init(params), *problems))
        expected = mapped(stacked, curvatures, optima)
        program, placed = on_devices(name, kind)
        found = program(*placed(curvatures, optima, start))
        atol = 1e-6 if dtype == jnp.float32 else 1e-12
        for values, others in zip(found, expected, strict=True):
            others = np.broadcast_to(others["kernel"], values["kernel"].shape)
            np.testing.assert_allclose(values["kernel"], others, rtol=0, atol=atol)
        assert np.abs(expected[1]["kernel"] - 1).max() > 0.1  # they have moved


def computations(name):
    """The lines of each computation of the compiled program."""
    program, placed = on_devices(name, AxisType.Auto)
    text = program.lower(*placed(*problem(jnp.float32))).compile().as_text()
    parts = re.split(r"^(?:ENTRY )?(%[\w.\-]+) .*\{$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.splitlines() for part in parts[2::2]), strict=True))


COLLECTIVE = re.compile(
    r" = (.*?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)\S*\("
)
BRANCHES = re.compile(r"(?:true_computation|false_computation)=(%[\w.\-]+)|branch_computations=\{(.*?)\}")
BYTES = {"f32": 4, "s8": 1}


def in_branches(name):
    """The collectives of the program as (what they return, whether only a branch reaches them)."""
    lines = computations(name)
    branches = {
        called
        for pair in BRANCHES.findall("\n".join(itertools.chain(*lines.values())))
        for called in re.findall(r"%[\w.\-]+", " ".join(pair))
    }
    return [
        (found[1], computation in branches)
        for computation, its_lines in lines.items()
        for line in its_lines
        if (found := COLLECTIVE.search(line))
    ]


def sent(shapes):
    """Bytes of what a collective returns, such as "(s8[4,6]{1,0}, f32[])"."""
    arrays = re.findall(r"(\w+)\[([\d,]*)\]", shapes)
    return sum(BYTES[kind] * int(np.prod([int(n) for n in dims.split(",") if n])) for kind, dims in arrays)


@pytest.mark.parametrize(("name", "averages"), [("local_sgd", 1), ("post_local_sgd", 2), ("palsgd", 2)])
def test_local_steps_communicate_at_boundaries_alone(name, averages):
    """The parameters at each, and gradients while they are averaged: 4 bytes a number."""
    collectives = in_branches(name)
    assert [branch for _, branch in collectives] == [True] * averages
    assert sum(sent(shapes) for shapes, _ in collectives) == averages * 4 * SIZE


@pytest.mark.parametrize("name", SIGNS)
def test_signs_communicate_a_byte_a_number(name):
    """Every step, and 4 where momenta are averaged."""
    collectives = in_branches(name)
    assert [sent(shapes) for shapes, branch in collectives if not branch] == [SIZE]
    assert [sent(shapes) for shapes, branch in collectives if branch] == [4 * SIZE] * (
        name == "lion_cub_synced"
    )


def test_a_boundary_stays_a_branch_under_vmap():
    """One program of a `cond`: what it computes at boundaries it does not compute in between."""
    tx = on_workers(METHODS["local_sgd"](), WORKERS)
    params = jnp.ones((WORKERS, SIZE))
    jaxpr = jax.make_jaxpr(tx.update)(params, tx.init(params), params)
    primitives = [str(equation.primitive) for equation in jaxpr.eqns]
    assert primitives.count("cond") == 1
    assert "reduce_sum" not in primitives  # the mean over workers is in the branch


def test_what_workers_have_in_common_is_kept_once():
    tx = on_workers(METHODS["palsgd"](), WORKERS)
    state = tx.init({"kernel": jnp.ones((WORKERS, SIZE))}).each
    assert state.anchor["kernel"].shape == state.outer[0].trace["kernel"].shape == (SIZE,)
    assert state.inner[0].mu["kernel"].shape == (WORKERS, SIZE)
    assert state.step.shape == ()


def test_parts_of_a_batch_reach_the_workers_whose_they_are():
    recorded = optax.GradientTransformationExtraArgs(
        lambda params: None, lambda updates, state, params, part_gradients: (part_gradients.sum(0), None)
    )
    tx, parts = on_workers(recorded, 2), jnp.arange(12.0).reshape(3, 2, 2)
    params = jnp.zeros((2, 2))
    updates, _ = tx.update(params, tx.init(params), params, part_gradients=parts)
    np.testing.assert_array_equal(updates, parts.sum(0))


def test_stacks_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"^workers must be in \[1, inf\), got 0"):
        on_workers(optax.sgd(0.1), 0)
    tx = on_workers(local_sgd(optax.sgd(0.1), every=1, axis_name="workers"), 3)
    with pytest.raises(ValueError, match="axis"):
        tx.update(jnp.ones((2, 1)), tx.init(jnp.ones((3, 1))), jnp.ones((2, 1)))


def test_what_is_evaluated_without_an_offer_is_what_is_trained():
    tx = optax.adam(0.1)
    params = jnp.ones(2)
    assert evaluation_params(tx.init(params), params) is params


def test_independent_workers_are_evaluated_at_their_mean():
    tx, params = on_workers(optax.sgd(0.1), 2), jnp.array([[1.0], [4.0]])
    np.testing.assert_array_equal(evaluation_params(tx.init(params), params), [2.5])
