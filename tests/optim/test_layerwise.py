"""The choice between sign and spectral descent, fed with a scripted index."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import Choice, muon, scale_by_spec_sign, signum, spec_sign

SHAPES = {"embed": {"embedding": (5, 4)}, "hidden": {"kernel": (5, 4)}, "head": {"kernel": (5, 4)}}
FLAT = ("embed/embedding", "hidden/kernel", "head/kernel")
SCALE = 0.2 * np.sqrt(5)  # "rms"
HIDDEN, EMBED, HEAD = "hidden/kernel", "embed/embedding", "head/kernel"


def scripted(gradients, log_ratio):
    return log_ratio


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {leaf: rng.normal(size=(5, 4)).astype(np.float32) for leaf in FLAT}


@functools.cache
def geometries(script, steps, **options):
    """Of each leaf at each step "sign" or "spectral", by the look of its update; all steps in one program.

    `script`: of every step the index of the embedding and of the head.
    """
    tx = scale_by_spec_sign(Choice(scripted, **options), momentum=0.5, polar="svd")
    log_ratios = {EMBED: np.float32([s[0] for s in script]), HEAD: np.float32([s[1] for s in script])}
    log_ratios[HIDDEN] = np.full(steps, -1, np.float32)

    def step(state, inputs):
        gradients, log_ratio = inputs
        updates, state = tx.update(gradients, state, log_ratio=log_ratio)
        return state, updates

    gradients = [drawn(t) for t in range(steps)]
    stacked = {leaf: np.stack([g[leaf] for g in gradients]) for leaf in FLAT}
    scan = jax.jit(lambda *inputs: jax.lax.scan(step, tx.init(drawn(0)), inputs)[1])
    updates = jax.device_get(scan(stacked, log_ratios))
    assert scan._cache_size() == 1
    return {leaf: [look(update) for update in updates[leaf]] for leaf in FLAT}


def look(update):
    if np.allclose(np.abs(update), 0.2, atol=1e-6):
        return "sign"
    np.testing.assert_allclose(np.linalg.svd(update)[1], SCALE, atol=1e-5)
    return "spectral"


def switched(*lengths):
    """Lengths of runs of spectral, sign, spectral, …"""
    return [("spectral", "sign")[i % 2] for i, length in enumerate(lengths) for _ in range(length)]


NAN = float("nan")


@pytest.mark.parametrize("initial", ["spectral", "sign"])
@pytest.mark.parametrize("lock", [True, False])
def test_it_changes_at_multiples_of_every_alone(lock, initial):
    # the embedding wants the other geometry at once, and back from step 6; the head from step 9
    other = -1.0 if initial == "spectral" else 1.0
    embed = [other] * 6 + [-other] * 6
    head = [other] * 3 + [NAN] * 3 + [0.0] * 3 + [other] * 3
    script = tuple(zip(embed, head, strict=True))
    looks = geometries(script, 12, every=3, lock=lock, initial=initial)
    flip = {"spectral": "spectral", "sign": "sign"}
    if initial == "sign":
        flip = {"spectral": "sign", "sign": "spectral"}
    assert [flip[g] for g in looks[EMBED]] == (switched(3, 9) if lock else switched(3, 3, 6))
    # the head sees `other` at steps 0 to 2, when nobody looks, and at step 9
    assert [flip[g] for g in looks[HEAD]] == switched(9, 3)
    assert looks[HIDDEN] == ["spectral"] * 12


def test_each_leaf_is_muon_or_signum_beside_it():
    choice = Choice(lambda gradients: {EMBED: jnp.float32(-1), HEAD: jnp.float32(1)}, every=1)
    tx = spec_sign(0.1, momentum=0.8, choice=choice, sign_scale=0.5)
    spectral = muon(0.1, momentum=0.8, scale="rms", fallback=optax.identity())
    sign = signum(0.05, momentum=0.8, nesterov=True)
    as_hidden = {EMBED: "a", HIDDEN: "b", HEAD: "c"}  # names by which muon takes them all
    renamed = lambda tree: {as_hidden[leaf]: value for leaf, value in tree.items()}  # noqa: E731

    @jax.jit
    def steps(params, gradients):
        states = tx.init(params), spectral.init(renamed(params)), sign.init(params)
        for gradient in gradients:
            updates, mine = tx.update(gradient, states[0], params)
            polars, muons = spectral.update(renamed(gradient), states[1])
            signs, signums = sign.update(gradient, states[2])
            states = mine, muons, signums
        return updates, polars, signs

    updates, polars, signs = steps(drawn(0), [drawn(t) for t in range(1, 4)])
    np.testing.assert_allclose(updates[EMBED], signs[EMBED], rtol=1e-6)
    for leaf in (HIDDEN, HEAD):
        np.testing.assert_allclose(updates[leaf], polars[as_hidden[leaf]], atol=1e-5)


def test_the_index_sees_raw_gradients_and_at_its_own_steps_alone():
    seen = []

    def index(gradients):
        jax.debug.callback(lambda tree: seen.append(jax.device_get(tree)), gradients)
        return jax.tree.map(jnp.sum, gradients)

    tx = scale_by_spec_sign(Choice(index, every=2), momentum=0.9)
    traces = []

    @jax.jit
    def step(gradients, state):
        traces.append(None)
        return tx.update(gradients, state)[1]

    state = jax.jit(tx.init)(drawn(0))
    for t in range(7):
        state = step(drawn(t), state)
    jax.effects_barrier()
    assert len(traces) == 1
    assert len(seen) == 3
    for t, gradients in zip((2, 4, 6), seen, strict=True):
        for leaf in (EMBED, HEAD):
            np.testing.assert_array_equal(gradients[leaf], drawn(t)[leaf])


def test_hidden_matrices_may_change_where_they_are_named():
    choice = Choice(
        lambda gradients: jax.tree.map(lambda g: -jnp.ones([]), gradients), every=1, kinds=("hidden",)
    )
    tx = scale_by_spec_sign(choice, momentum=0.0, polar="svd")
    state, update = jax.jit(tx.init)(drawn(0)), jax.jit(tx.update)
    for t in range(2):
        updates, state = update(drawn(t), state)
    assert [look(np.asarray(updates[leaf])) for leaf in (EMBED, HIDDEN, HEAD)] == [
        "spectral",
        "sign",
        "spectral",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"kinds": ("other",)}, "kinds must be one of .* got 'other'"),
    ],
)
def test_meaningless_choices_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        Choice(scripted, **options)


def test_a_model_without_such_leaves_is_refused():
    with pytest.raises(
        ValueError, match=r"kinds must be those of some leaves, but none is \['embed', 'head'\]"
    ):
        spec_sign(0.1, choice=Choice(scripted)).init({"hidden/kernel": jnp.ones((3, 2))})


def test_an_index_must_cover_the_leaves_that_may_change():
    tx = scale_by_spec_sign(Choice(lambda gradients: {EMBED: jnp.ones([])}, every=1))
    with pytest.raises(ValueError, match=f"index: .* lacks {HEAD}"):
        jax.eval_shape(lambda g: tx.update(g, tx.init(g)), drawn(0))
