"""The compressed form over eight ranks: each with its own gradients, against one that sees their average."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

from optim import compressed_specs, dion, orth_dion, scale_by_dion
from optim.low_rank import HEADROOM

RANKS, STEPS, MOMENTUM = 8, 5, 0.9
SHAPES = {"bias": (5,), "down": {"kernel": (9, 6)}, "up": {"kernel": (6, 9)}}
METHODS = {
    "dion": lambda axis_name: dion(0.1, momentum=MOMENTUM, rank=3, axis_name=axis_name),
    "qr": lambda axis_name: orth_dion(0.1, momentum=MOMENTUM, rank=3, axis_name=axis_name),
    "polar": lambda axis_name: orth_dion(0.1, right="polar", momentum=MOMENTUM, rank=3, axis_name=axis_name),
}


@pytest.fixture(autouse=True)
def x64():
    assert jax.device_count() == RANKS
    with jax.enable_x64(True):
        yield


def normal(seed, *lead):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: rng.normal(size=(*lead, *shape)), SHAPES, is_leaf=lambda node: isinstance(node, tuple)
    )


def compressed(tx, params):
    """The state over all ranks, and the step, not jitted, on (params, state, gradients by rank)."""
    mesh = jax.make_mesh((RANKS,), ("data",), axis_types=(AxisType.Auto,))
    whole, by_rank = PartitionSpec(), PartitionSpec("data")
    specs = compressed_specs(jax.eval_shape(tx.init, params), "data")

    def step(params, state, gradients):
        gradients = jax.tree.map(lambda g: g[0], gradients)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    init = jax.shard_map(tx.init, mesh=mesh, in_specs=whole, out_specs=specs)
    step = jax.shard_map(step, mesh=mesh, in_specs=(whole, specs, by_rank), out_specs=(whole, specs))
    return jax.jit(init)(params), step


def by_rank(state):
    """Each rank's buffer of each matrix."""
    (low_rank,) = [n for n in jax.tree.leaves(state, is_leaf=is_low_rank) if is_low_rank(n)]
    return [
        HEADROOM * np.asarray(b).reshape(RANKS, -1, b.shape[-1]) for b in jax.tree.leaves(low_rank.buffers)
    ]


def is_low_rank(node):
    return hasattr(node, "warm_starts")


@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_method_on_averaged_gradients(name):
    params = normal(0)
    gradients = [normal(t + 1, RANKS) for t in range(STEPS)]
    state, step = compressed(METHODS[name]("data"), params)
    step, central = jax.jit(step), METHODS[name](None)

    @jax.jit
    def central_step(params, state, gradients):
        updates, state = central.update(jax.tree.map(lambda g: g.mean(0), gradients), state, params)
        return optax.apply_updates(params, updates), state

    mine, expected, expected_state = params, params, jax.jit(central.init)(params)
    for gradient in gradients:
        mine, state = step(mine, state, gradient)
        expected, expected_state = central_step(expected, expected_state, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-13), mine, expected)
    assert all(
        np.abs(np.asarray(end) - start).max() > 0.1
        for end, start in zip(*map(jax.tree.leaves, (mine, params)), strict=True)
    )
    (central_buffers,) = [
        n.buffers for n in jax.tree.leaves(expected_state, is_leaf=is_low_rank) if is_low_rank(n)
    ]
    for ranks, buffer in zip(by_rank(state), jax.tree.leaves(central_buffers), strict=True):
        np.testing.assert_allclose(ranks.mean(0), HEADROOM * np.asarray(buffer), atol=1e-12)
        assert np.ptp(ranks, axis=0).max() > 0.1  # they do hold different buffers


def test_only_the_two_thin_products_are_communicated():
    params = normal(0)
    state, step = compressed(METHODS["qr"]("data"), params)
    jaxpr = jax.make_jaxpr(step)(params, state, normal(1, RANKS))
    numbers = sum(communicated(jaxpr.jaxpr))
    assert numbers == 2 * (6 + 9) * 3 + 5  # (m + n) r for each matrix, and the bias
    assert numbers < 2 * 6 * 9


def communicated(jaxpr):
    """The sizes of what goes through collectives, in all nested jaxprs."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name.startswith(("psum", "all_gather", "all_reduce", "reduce_scatter", "all_to_all", "ppermute")):
            yield sum(variable.aval.size for variable in equation.invars)
        for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr):
            if is_jaxpr(parameter):
                yield from communicated(getattr(parameter, "jaxpr", parameter))


def is_jaxpr(node):
    return hasattr(node, "eqns") or hasattr(getattr(node, "jaxpr", None), "eqns")


def numpy_buffers(gradients, start, steps):
    """Each rank's buffer after steps with the same gradients, fed back by its own R; and by the mean R."""
    own, shared, v = np.zeros_like(gradients), np.zeros_like(gradients), start
    for _ in range(steps):
        own, shared = own + gradients, shared + gradients
        u, r = np.linalg.qr((own @ v).mean(0))
        u = u * np.sign(np.diag(r))
        v, _ = np.linalg.qr((own.mT @ u).mean(0))
        right, triangle = np.linalg.qr((own.mT @ u).mean(0))
        v = right * np.sign(np.diag(triangle))
        shared = shared - (1 - MOMENTUM) * u @ (u.T @ shared.mean(0))
        own = own - (1 - MOMENTUM) * u @ (u.T @ own)
    return own, shared


def disagreement(buffers):
    return np.linalg.norm(buffers - buffers.mean(0), axis=(1, 2)).max()


@pytest.mark.parametrize("rank", [6, 2])
def test_what_ranks_disagree_on_stays_bounded(rank):
    steps, rng = 200, np.random.default_rng(3)
    gradients = rng.normal(size=(RANKS, 6, 9))
    tx = scale_by_dion(MOMENTUM, right="qr", rank=rank, axis_name="data")
    state, step = compressed(tx, {"w": np.zeros((6, 9))})
    start, trained = np.asarray(state.warm_starts["w"][0][0]), {}

    def scanned(params, state):
        def body(carry, _):
            return step(*carry, {"w": jnp.asarray(gradients)}), None

        return jax.lax.scan(body, (params, state), length=steps // 2)[0]

    scanned, carry = jax.jit(scanned), ({"w": np.zeros((6, 9))}, state)
    for count in (steps // 2, steps):
        carry = scanned(*carry)
        (trained[count],) = by_rank(carry[1])
    own, shared = numpy_buffers(gradients, start, steps)
    assert disagreement(trained[steps]) == pytest.approx(disagreement(own), rel=1e-3)
    assert disagreement(trained[steps]) < 1.5 * disagreement(trained[steps // 2])
    assert disagreement(shared) > 3 * disagreement(
        own
    )  # fed back by the mean R alone it grows with every step
    if rank == 6:  # Σ μˢ of each rank's own difference
        series = MOMENTUM * (1 - MOMENTUM**steps) / (1 - MOMENTUM)
        np.testing.assert_allclose(trained[steps], series * gradients, rtol=1e-9)
        np.testing.assert_allclose(disagreement(shared), steps * disagreement(gradients), rtol=1e-9)
