"""optax's contract, kept by whatever `optim` exports and studies train with; new names must be listed."""

import copy
import functools
import pickle
import subprocess
import sys

import cloudpickle
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optim
from experiments.study.training.optimizers import OPTIMIZERS
from tests.optim.contract_cases import (
    AROUND,
    CASES,
    INSIDE,
    NO_TRANSFORMATION,
    OPTAXS,
    SOLUTION,
    SPECS,
    START,
    TARGET,
    drawn,
    extra,
    objective,
)


def test_every_public_name_is_here():
    assert set(optim.__all__) <= {*CASES, *INSIDE, *NO_TRANSFORMATION}
    assert set(OPTIMIZERS) <= {*CASES, *AROUND, *OPTAXS}


def close(found, expected, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5), found, expected)


def equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(np.testing.assert_array_equal, strict=True), found, expected)


@functools.cache
def compiled(case):
    """The transformation, and its update in the one program that its checks share, which the state is
    donated to."""
    tx = case.build(0.1)
    return tx, jax.jit(lambda g, s, p: tx.update(g, s, p, **extra(case, g)), donate_argnums=1)


def converges(case):
    """Within optax's own bar, in one scan whose rates are data."""
    rates = case.rate * (1 - jnp.arange(case.steps) / case.steps)

    def step(carry, rate):
        params, state = carry
        gradient = jax.grad(objective)
        gradients = gradient(params)
        updates, state = case.build(rate).update(gradients, state, params, **extra(case, gradients, gradient))
        return (optax.apply_updates(params, updates), state), None

    def run(params):
        return jax.lax.scan(step, (params, case.build(rates[0]).init(params)), rates)[0][0]

    jax.tree.map(
        lambda w, best: np.testing.assert_allclose(w, best, atol=3e-2, rtol=3e-2),
        jax.jit(run)(START),
        SOLUTION,
    )


def stack(*trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def numbered(tree):
    """With other numbers in each leaf."""
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([jnp.full_like(leaf, number) for number, leaf in enumerate(leaves)])


def vmaps_with_masks(case):
    """Two rows, in the chosen leaves alone, from a vmapped program as from one program for both."""
    tx, plain = compiled(case)
    inner, leaves, chosen = tx, (*SPECS, "parabola"), ("dense", "head")
    if case.whole:  # but not what needs all leaves
        with pytest.raises(ValueError, match="needs all parameters"):
            optax.masked(tx, {**dict.fromkeys(START, True), "parabola": False}).init(START)
        leaves = chosen = tuple(SPECS)
    else:
        masked = optax.masked(tx, lambda p: {**jax.tree.map(lambda _: True, p), "parabola": {"bias": False}})
        inner = optax.partition(
            {"trained": masked, "frozen": optax.set_to_zero()},
            lambda p: {name: "frozen" if name == "rosenbrock" else "trained" for name in p},
        )
    update = jax.jit(jax.vmap(lambda g, s, p: inner.update(g, s, p, **extra(case, g))))
    params = [drawn(row, leaves) for row in range(2)]
    states, single = stack(*map(inner.init, params)), [tx.init(drawn(row)) for row in range(2)]
    for step in range(2):
        gradients = [drawn(10 * step + row, leaves) for row in range(2)]
        updates, states = update(stack(*gradients), states, stack(*params))
        expected = [dict(gradient) for gradient in gradients]
        for row, gradient in enumerate(gradients):
            own, single[row] = plain({name: gradient[name] for name in SPECS}, single[row], drawn(row))
            expected[row] |= {name: own[name] for name in chosen}
            if not case.whole:
                expected[row]["rosenbrock"] = jax.tree.map(np.zeros_like, own["rosenbrock"])
        close(updates, stack(*expected))
    assert plain._cache_size() == 1


def goes_inside_optax_wrappers(case):
    """A bad gradient is left out, two good ones make the update of their mean."""
    tx, plain = compiled(case)
    multi = optax.MultiSteps(tx, 2)
    wrapped = optax.apply_if_finite(optax.GradientTransformationExtraArgs(multi.init, multi.update), 3)
    first, second, params = drawn(1), drawn(2), drawn(3)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, first, second)
    update = jax.jit(lambda g, s: wrapped.update(g, s, params, **extra(case, mean)))
    unchanged, state = update(first, wrapped.init(params))
    skipped, later = update(jax.tree.map(lambda g: g.at[0].set(jnp.inf), second), state)
    equal(later.inner_state, state.inner_state)
    for zeros in (unchanged, skipped):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(zeros))
    close(update(second, later)[0], plain(mean, tx.init(params), params)[0])


def injects(case):
    """With its updates and its state, asking for parameters where nothing decays no more than optax does."""
    inject = optax.inject_hyperparams(case.factory, static_args=case.static)
    plain, injected = case.factory(0.1), inject(learning_rate=0.1)
    gradients, params = drawn(0), drawn(1)
    state = injected.init(params)
    for name in state.hyperparams:
        found = optax.tree_utils.tree_get_all_with_path(state, name)
        assert [optax.tree_utils.tree_get(state, name)] == [value for _, value in found]
    assert optax.tree_utils.tree_get(plain.init(params), "learning_rate") is None  # as in optax.adam's
    rest = () if case.factory.__module__.startswith("optim") or case.factory is optax.adam else (params,)
    structure = jax.tree.structure(state)
    expected, expected_state = jax.jit(plain.update)(gradients, plain.init(params), params)
    updates, new = jax.jit(injected.update, donate_argnums=1)(gradients, state, *rest)
    close(updates, expected)
    close(new.inner_state, expected_state)
    assert jax.tree.structure(new) == structure


def keeps_dtypes(case):
    """The gradients' in updates, and its own in the state, as in float32 where `is_sharded`; and begins from
    shapes as from arrays."""
    tx = case.build(0.1)
    for dtype in (jnp.bfloat16, jnp.float16):
        shapes = jax.tree.map(lambda x, dtype=dtype: jax.ShapeDtypeStruct(x.shape, dtype), drawn(0))

        def step(gradients, state, params):
            updates, new = tx.update(gradients, state, params, **extra(case, gradients))
            return updates, jax.lax.cond(jnp.sum(updates["head"]["kernel"]) > 0, lambda: new, lambda: state)

        updates, _ = jax.eval_shape(step, shapes, jax.eval_shape(tx.init, shapes), shapes)
        assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
    if case.valueless:
        shapes = jax.eval_shape(lambda: drawn(0))
        equal(tx.init(shapes), tx.init(jax.tree.map(jnp.zeros_like, shapes)))


def is_sharded(case):
    """The update is that of whole arrays, and states keep their types; on Auto axes, where the compiler alone
    shards, that is asked of what computes in another way there."""
    (tx, plain), params, gradients = compiled(case), drawn(0), drawn(1)
    expected, _ = plain(gradients, tx.init(params), params)
    for kind in (AxisType.Explicit, AxisType.Auto) if case.devices else (AxisType.Explicit,):
        mesh = jax.make_mesh((2,), ("x",), axis_types=(kind,))
        put = functools.partial(
            jax.tree.map, lambda x, spec, mesh=mesh: jax.device_put(x, NamedSharding(mesh, spec))
        )

        def step(gradients, params):
            state = tx.init(params)
            update = lambda: tx.update(gradients, state, params, **extra(case, gradients))  # noqa: E731
            return jax.lax.cond(gradients["head"]["kernel"][0, 0] < 9, update, lambda: (gradients, state))

        with jax.set_mesh(mesh):  # where new zeros are sharded too, in no way
            updates, _ = jax.jit(step)(put(gradients, SPECS), put(params, SPECS))
        close(updates, expected)


def goes_inside_shard_map(case):
    """Two ranks step each on its own from its own parameters, where their states may vary; and on their mean
    gradient from the same."""
    tx, update = compiled(case)
    gradients = [[drawn(10 * step + rank) for rank in range(2)] for step in range(2)]
    means = [jax.tree.map(lambda a, b: (a + b) / 2, *ranks) for ranks in gradients]

    def two_steps(update, gradients, state, params):
        for gradient in gradients:
            updates, state = update(gradient, state, params)
        return updates

    expected = [
        two_steps(update, g, tx.init(params), params)
        for g, params in zip((means, *zip(*gradients, strict=True)), map(drawn, (2, 2, 3)), strict=True)
    ]

    def alike(gradient, state, params):
        own = jax.tree.map(lambda leaf: leaf[0], gradient)
        return update(jax.lax.pmean(own, "x"), state, params)

    def apart(*ranks):
        own = jax.tree.map(lambda leaf: leaf[0], ranks)
        return jax.tree.map(lambda leaf: leaf[None], update(*own))

    whole, split = PartitionSpec(), PartitionSpec("x")
    stacks = [stack(*ranks) for ranks in gradients]
    states, params = stack(*(tx.init(drawn(rank)) for rank in (2, 3))), stack(drawn(2), drawn(3))

    def trained(kind, step, specs, states, params):  # inside, axes of either kind are Manual
        mesh = jax.make_mesh((2,), ("x",), axis_types=(kind,))
        place = functools.partial(jax.device_put, device=NamedSharding(mesh, specs[1]))
        program = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=specs[1]))
        gradients = jax.device_put(stacks, NamedSharding(mesh, specs[0]))
        return two_steps(program, gradients, place(states), place(params))

    if case.devices:
        common = trained(AxisType.Explicit, alike, (split, whole, whole), tx.init(drawn(2)), drawn(2))
        close(common, expected[0])
    if case.apart:
        own = trained(AxisType.Auto, apart, (split, split, split), states, params)
        close(own, stack(*expected[1:]))


def state_is_handled(case):
    """By flax.serialization, optax.tree_map_params, pickles and copies; donation is its update's."""
    (tx, update), params = compiled(case), drawn(0)
    _, state = update(drawn(1), tx.init(params), params)
    equal(flax.serialization.from_bytes(tx.init(params), flax.serialization.to_bytes(state)), state)
    for dump in (pickle, cloudpickle):
        equal(dump.loads(dump.dumps(state)), state)
    equal(copy.deepcopy(state), state)
    equal(copy.deepcopy(tx).init(params), tx.init(params))
    equal(optax.tree_utils.tree_map_params(tx, lambda leaf: leaf, state), state)
    halves = optax.tree_utils.tree_map_params(tx, lambda leaf: leaf.astype(jnp.bfloat16), state)
    assert jax.tree.structure(halves) == jax.tree.structure(state)
    masked = lambda node: isinstance(node, optax.MaskedNode)  # noqa: E731
    told = optax.tree_utils.tree_map_params(
        tx,
        lambda leaf, spec: None if masked(leaf) else f"{leaf.shape} {spec}",
        state,
        SPECS,
        transform_non_params=lambda _: None,
        is_leaf=masked,
    )
    shapes_and_specs = jax.tree.map(lambda leaf, spec: f"{leaf.shape} {spec}", params, SPECS)
    assert set(jax.tree.leaves(told)) <= set(jax.tree.leaves(shapes_and_specs))


class Model(nnx.Module):
    """With the leaves that are drawn."""

    def __init__(self):
        for name, leaves in drawn(0).items():
            layer = nnx.Module()
            for leaf, value in leaves.items():
                setattr(layer, leaf, nnx.Param(value))
            setattr(self, name, layer)


CHECKS = (
    converges, vmaps_with_masks, goes_inside_optax_wrappers, injects, keeps_dtypes, is_sharded,
    goes_inside_shard_map, state_is_handled,
)  # fmt: skip


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (check, name)
        for check in CHECKS
        for name, case in CASES.items()
        if case.factory or check is not injects
        if case.steps or check is not converges
        # where the wrappers must hand on more than gradients; `test_contract` has MultiSteps of others
        if case.parts or case.again or not case.apart or check is not goes_inside_optax_wrappers
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_it_keeps_optax_contract(check, name):
    check(CASES[name])


def test_all_are_restored_by_orbax(tmp_path):
    """In an NNX optimizer, to the shapes that a new one has, after a step where that asks or keeps more than
    gradients; and bare, after a step."""

    def in_nnx(tx):
        return nnx.Optimizer(Model(), tx, wrt=nnx.Param)

    def after_a_step(case, tx):
        model, optimizer = Model(), in_nnx(tx)
        gradients = nnx.state(model, nnx.Param)
        if case.again or not case.apart or not case.valueless:
            optimizer.update(model, gradients, **extra(case, gradients, lambda params: params))
        return optimizer

    state, shapes = {}, {}
    for name, case in CASES.items():
        tx, update = compiled(case)
        _, bare = update(drawn(1), tx.init(drawn(0)), drawn(0))
        new = nnx.state(nnx.eval_shape(functools.partial(after_a_step, case, tx)))
        state[name] = {"nnx": nnx.state(in_nnx(tx)), "bare": bare}
        state[name]["nnx"]["opt_state"] = numbered(state[name]["nnx"]["opt_state"])
        shapes[name] = {"nnx": new, "bare": jax.eval_shape(tx.init, drawn(0))}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        equal(checkpointer.restore(tmp_path / "state", shapes), state)


IN_A_PROCESS = """
import cloudpickle, jax, numpy as np, optax, geometry, optim
choice = optim.Choice(lambda gradients, **_: {"kernel": 1.0}, 1, kinds=("hidden",))
controller = optim.BatchController(geometry.SPECTRAL, 8, 8, quantum=4)
params = {"kernel": np.float32([[3, 1], [1, 2], [0, 1]])}
txs = (
    optim.sign_descent(0.1), optim.signum(0.1), optim.spectral_descent(0.1), optim.muon(0.1), optim.dion(0.1),
    optim.orth_dion(0.1), optim.spec_sign(0.1, choice=choice), optim.record_noise(8), optim.descend(0.1),
    optim.adaptive_batch(optim.muon, lambda _: 0.1, controller, microbatch_size=4),
    optim.palsgd(optax.adam(0.1), every=1, mix=0.1), optim.lion_cub(0.1, axis_name=None, workers=1),
    optim.conjugate_gradient("dai_yuan"), optim.norm_control(optax.sgd(0.1)), optim.orthogonal_gradient(),
    optim.scale_by_diffgrad(),
)
copies = [cloudpickle.loads(cloudpickle.dumps(tx)) for tx in txs]
parts = {"kernel": np.ones((2, 3, 2))}

@jax.jit
def updates(both=(txs, copies)):
    return [
        [
            optax.with_extra_args_support(tx).update(params, tx.init(params), params, part_gradients=parts)
            for tx in some
        ]
        for some in both
    ]

jax.tree.map(np.testing.assert_array_equal, *updates())
"""


def test_transformations_go_through_cloudpickle():
    """In a process of its own: the type checker of these tests wraps functions in what no pickle takes."""
    subprocess.run([sys.executable, "-c", IN_A_PROCESS], check=True, capture_output=True, timeout=300)


U, _, VT = np.linalg.svd(TARGET, full_matrices=False)


@pytest.mark.parametrize(
    ("tx", "direction"),
    [
        (optim.sign_descent(0.1), np.sign(TARGET)),
        (optim.spectral_descent(0.1, polar="svd", scale=None), U @ VT),
    ],
    ids=["sign", "spectral"],
)
def test_functions_of_the_gradient_alone_forget_a_bad_one(tx, direction):
    good, update = {"kernel": jnp.asarray(TARGET)}, jax.jit(tx.update)
    _, state = update({"kernel": np.full((3, 2), np.float32(np.nan))}, tx.init(good), good)
    updates, _ = update(good, state, good)
    np.testing.assert_allclose(updates["kernel"], -0.1 * direction, atol=1e-6)
