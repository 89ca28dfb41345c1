"""What every transformation owes in either dtype: one compilation, convergence, the same without jit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import Choice, dion, muon, orth_dion, sign_descent, signum, spec_sign, spectral_descent

TO_SPECTRAL = Choice(lambda gradients: jax.tree.map(lambda g: jnp.sum(g * g), gradients), 5, initial="sign")
METHODS = {
    "sign_descent": sign_descent,
    "signum": signum,
    "spectral_descent": spectral_descent,
    "muon": muon,
    "dion": functools.partial(dion, rank_fraction=0.5),
    "orth_dion_qr": functools.partial(orth_dion, rank_fraction=0.5),
    "orth_dion_polar": functools.partial(orth_dion, right="polar", rank_fraction=0.5),
    "spec_sign": functools.partial(spec_sign, choice=TO_SPECTRAL, momentum=0.9),
}
STATIC = {  # ranks decide shapes
    name: ("rank_fraction", "rank_multiple") for name in METHODS if "dion" in name
}
# in float32 `test_optax_contract` compares updates and states with those of the method alone, for all methods
# injected and under vmap; in bfloat16 these are asked of a method of each kind
RUNS = [
    *((method, "plain", jnp.float32) for method in METHODS),
    *((method, "multi_steps", jnp.bfloat16) for method in METHODS),
    *(
        (method, wrapper, jnp.bfloat16)
        for method in ("muon", "dion", "spec_sign")
        for wrapper in ("inject_hyperparams", "vmap")
    ),
]
SHAPES = {
    "bias": (4,),
    "dense": {"kernel": (6, 4)},
    "embed": {"embedding": (6, 4)},
    "head": {"kernel": (6, 4)},
}
RNG = np.random.default_rng(0)


def tree(draw, dtype):
    shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree.map(lambda s: jnp.asarray(draw(s), dtype), SHAPES, is_leaf=shape)


# minimise ½‖A W - A W*‖² in every leaf, with singular values of A in [½, 1½]
OPERATOR = np.eye(6) + 0.5 * np.linalg.qr(RNG.normal(size=(6, 6)))[0]
SOLUTION = tree(lambda shape: RNG.normal(size=shape), jnp.float32)
CURVATURE = {4: np.eye(4), 6: OPERATOR.T @ OPERATOR}


def gradients_at(params):
    def gradient(weight, solution):
        error = weight.astype(jnp.float32) - solution
        return (jnp.asarray(CURVATURE[len(error)], jnp.float32) @ error).astype(weight.dtype)

    return jax.tree.map(gradient, params, SOLUTION)


def distance(params):
    errors = jax.tree.map(lambda w, s: np.asarray(w, np.float64) - np.asarray(s), params, SOLUTION)
    return max(np.abs(error).max() for error in jax.tree.leaves(errors))


@functools.cache
def stepper(method, wrapper, dtype):
    """init; a step: (params, state, learning rate) → (params, state, updates); those from one of the rates to
    another, compiled; and its traces.

    Kept, with its one program for the dtype, for every test of it.
    """
    traces = []

    def transformation(learning_rate):
        if wrapper == "inject_hyperparams":
            static = {"static_args": STATIC[method]} if method in STATIC else {}
            return optax.inject_hyperparams(METHODS[method], **static)(learning_rate=0.1)
        tx = METHODS[method](learning_rate)
        return optax.MultiSteps(tx, 2) if wrapper == "multi_steps" else tx

    def step(params, state, learning_rate):
        if wrapper == "inject_hyperparams":
            kept_dtype = state.hyperparams["learning_rate"].dtype
            state.hyperparams["learning_rate"] = learning_rate.astype(kept_dtype)
        updates, state = transformation(learning_rate).update(gradients_at(params), state, params)
        return optax.apply_updates(params, updates), state, updates

    @jax.jit
    def steps(params, state, rates, begin, end):
        traces.append(None)
        stepped = jax.vmap(step) if wrapper == "vmap" else step
        body = lambda place, carry: stepped(*carry[:2], rates[place])  # noqa: E731
        return jax.lax.fori_loop(begin, end, body, (params, state, params))

    return transformation(0.1).init, step, steps, traces


def rates(wrapper):
    # at 400 the slowest ended at the bound, on this or that side of it by the processor's rounding
    steps = 1200 if wrapper == "multi_steps" else 600
    decayed = np.float32(0.1 * (1 - np.arange(steps) / steps) ** 2)
    return np.stack([decayed, 2 * decayed], axis=1) if wrapper == "vmap" else decayed


@pytest.mark.parametrize(("method", "wrapper", "dtype"), RUNS)
def test_it_converges_in_one_compiled_step(method, dtype, wrapper):
    init, _, steps, traces = stepper(method, wrapper, dtype)
    params = tree(np.zeros, dtype)
    state, many = init(params), wrapper == "vmap"
    if many:
        params, state = jax.tree.map(lambda leaf: jnp.asarray(np.stack([leaf, leaf])), (params, state))
    schedule = rates(wrapper)
    for begin, end in ((0, 3), (3, len(schedule))):  # the state after some is of the first one's types
        params, state, updates = steps(params, state, schedule, begin, end)
    for leaf in jax.tree.leaves(updates):
        assert leaf.dtype == dtype
    assert len(traces) == 1
    assert steps._cache_size() == 1
    # in bfloat16, whose neighbours are 1/64 apart beyond 2, steps of less than half of that vanish
    bound = 0.02 if dtype == jnp.float32 else 0.25
    for run in range(2) if many else [...]:
        assert distance(jax.tree.map(lambda leaf: np.asarray(leaf)[run], params)) < bound  # noqa: B023


@pytest.mark.parametrize(
    ("method", "dtype"), [*((method, jnp.float32) for method in METHODS), ("muon", jnp.bfloat16)]
)
def test_without_jit_it_is_the_same(method, dtype):
    init, step, steps, _ = stepper(method, "plain", dtype)
    params = tree(lambda shape: RNG.normal(size=shape), dtype)
    eager, jitted = (params, init(params)), (params, init(params))
    atol = 1e-5 if dtype == jnp.float32 else 2**-6  # of entries up to 1, after two updates
    schedule = rates("plain")
    for place in range(2):
        *eager, updates = step(*eager, jnp.float32(schedule[place]))
        *jitted, expected = steps(*jitted, schedule, place, place + 1)
        for mine, other in zip(*map(jax.tree.leaves, (updates, expected)), strict=True):
            assert mine.dtype == dtype
            np.testing.assert_allclose(np.float32(mine), np.float32(other), atol=atol)


EDGES = {
    "zero": np.zeros((3, 4)),
    "rank_one": np.outer([1.0, -2.0, 0.5], [3.0, 1.0, -1.0, 0.25]),
    "one_row": np.array([[3.0, -4.0, 12.0]]),
    "one_column": np.array([[3.0], [-4.0], [12.0]]),
    "huge": 1e30 * np.array([[2.0, 1.0, 0.0, 1.0], [1.0, -1.0, 2.0, 0.5], [0.0, 1.0, 1.0, -2.0]]),
    "tiny": 1e-30 * np.array([[2.0, 1.0, 0.0, 1.0], [1.0, -1.0, 2.0, 0.5], [0.0, 1.0, 1.0, -2.0]]),
}


def isometry(matrix):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u * (s > 1e-6 * s[0])) @ vt


# of these the value is known: signs, and partial isometries where the polar factor is exact or r is full
EXACT = {
    "sign": (lambda: signum(1.0), np.sign),
    "muon": (lambda: muon(1.0, polar="svd", scale=None), isometry),
    "polar": (lambda: orth_dion(1.0, right="polar", rank_fraction=1.0, scale=None), isometry),
    "qr": (lambda: orth_dion(1.0, rank_fraction=1.0, scale=None), None),
    "dion": (lambda: dion(1.0, rank_fraction=1.0, scale=None), None),
    "polar_express": (lambda: muon(1.0, scale=None), None),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, jnp.float32) for name in EXACT), *((name, jnp.bfloat16) for name in ("sign", "muon", "qr"))],
)
def test_extreme_gradients(name, dtype):
    make, expected = EXACT[name]
    gradients = {leaf: {"kernel": jnp.asarray(g.astype(dtype))} for leaf, g in EDGES.items()}
    tx = make()
    updates, _ = jax.jit(tx.update)(gradients, tx.init(gradients), gradients)
    for leaf, gradient in gradients.items():
        update = np.asarray(updates[leaf]["kernel"])
        assert update.dtype == dtype
        assert np.all(np.isfinite(np.float32(update)))
        if leaf == "zero":
            assert not np.any(update)
        elif expected is not None:
            exact = -expected(np.asarray(gradient["kernel"], np.float64))
            np.testing.assert_allclose(
                np.float64(update), exact, atol=2e-5 if dtype == jnp.float32 else 2**-7
            )
        else:
            length = np.linalg.norm(np.float64(update))
            assert length == pytest.approx(np.linalg.norm(isometry(np.float64(gradient["kernel"]))), rel=0.35)


def test_a_rank_cannot_be_injected_but_named_static():
    params = {"kernel": jnp.ones((6, 4))}
    with pytest.raises(ValueError, match=r"rank_fraction decides shapes .* name it in static_args"):
        jax.jit(optax.inject_hyperparams(dion)(0.1, rank_fraction=0.5).init)(params)
    static = optax.inject_hyperparams(dion, static_args=("rank_fraction", "rank_multiple", "seed"))
    state = jax.jit(static(0.1, rank_fraction=0.5).init)(params)
    starts = [leaf.shape for leaf in jax.tree.leaves(state) if leaf.ndim == 3]
    assert starts == [(1, 6, 2)]
