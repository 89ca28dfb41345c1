"""Low-rank spectral descent against its six steps in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim import Routing, by_name, scale_by_dion
from optim.low_rank import HEADROOM
from tests.optim.low_rank_steps import (
    EXACT,
    MOMENTUM,
    RIGHTS,
    dion_of,
    normal,
    one_matrix,
    polar_factor,
    signed_q,
)

pytestmark = pytest.mark.xdist_group("low_rank")  # for the steps that both files compile

SHAPES = {"wide": (6, 9), "tall": (9, 6), "square": (6, 6), "conv": (1, 2, 3, 9), "conv_1": (3, 1, 3, 6)}


NUMPY_RIGHT = {"normalize": lambda r: r / np.linalg.norm(r, axis=0), "qr": signed_q, "polar": polar_factor}


def numpy_dion(right, gradients, start, momentum=MOMENTUM):
    """Updates and buffers of one matrix, of its transpose where it is tall."""
    turned = gradients[0].shape[0] > gradients[0].shape[1]
    buffer, v, steps = 0, start, []
    for gradient in gradients:
        buffer = buffer + (gradient.T if turned else gradient)
        u = signed_q(buffer @ v)
        r = buffer.T @ u
        buffer = buffer - (1 - momentum) * u @ r.T
        v = NUMPY_RIGHT[right](r)
        steps.append(((u @ v.T).T, buffer.T) if turned else (u @ v.T, buffer))
    return steps


def start_of(state, leaf="w"):
    return np.asarray(state.warm_starts[leaf][0][0])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("right", RIGHTS)
def test_it_is_the_six_steps_in_numpy(right):
    tx = dion_of(right)
    state = tx.init({leaf: {"kernel": np.zeros(shape)} for leaf, shape in SHAPES.items()})
    gradients = [{leaf: normal([t, len(leaf)], *SHAPES[leaf]) for leaf in SHAPES} for t in range(5)]
    expected = {}
    for leaf, shape in SHAPES.items():
        matrices = [g[leaf].reshape(-1, shape[-1]) for g in gradients]
        expected[leaf] = numpy_dion(right, matrices, np.asarray(state.warm_starts[f"{leaf}/kernel"][0][0]))
    for t, gradient in enumerate(gradients):
        updates, state = tx.update({leaf: {"kernel": g} for leaf, g in gradient.items()}, state)
        for leaf, shape in SHAPES.items():
            for computed, reference in zip(
                (updates[leaf]["kernel"], HEADROOM * np.asarray(state.buffers[leaf]["kernel"])),
                expected[leaf][t],
                strict=True,
            ):
                np.testing.assert_allclose(computed, reference.reshape(shape), atol=EXACT)
            values = np.linalg.svd(np.asarray(updates[leaf]["kernel"]).reshape(-1, shape[-1]))[1]
            assert np.sum(values**2) == pytest.approx(3, abs=EXACT)
            if right == "normalize":
                assert 1 + 1e-3 < values[0] < np.sqrt(3)
            else:
                np.testing.assert_allclose(values[:3], 1, atol=EXACT)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("right", RIGHTS)
def test_at_full_rank_the_buffer_is_heavy_ball_momentum(right):
    gradients = [normal(t, 4, 7) for t in range(6)]
    heavy_ball = 0
    steps = one_matrix(dion_of(right, rank=4), gradients)
    for (_, state), gradient in zip(steps, gradients, strict=True):
        heavy_ball = MOMENTUM * (heavy_ball + gradient)
        np.testing.assert_allclose(HEADROOM * np.asarray(state.buffers["w"]), heavy_ball, atol=EXACT)


@pytest.mark.usefixtures("x64")
def test_the_sign_of_qr_descends_where_the_raw_one_does_not():
    gradient = normal(5, 40, 64)
    v = start_of(dion_of("qr", rank=20).init({"w": gradient}))
    update = one_matrix(dion_of("qr", rank=20), [gradient])[0][0]
    u = np.linalg.qr(gradient @ v)[0]
    r = gradient.T @ u
    polar_gain = np.sum(np.linalg.svd(r)[1])  # ⟨M, U polar(R)ᵀ⟩, the most that this U can gain
    raw_gain = np.sum(gradient * (u @ np.linalg.qr(r)[0].T))
    gain = np.sum(gradient * update)
    assert 0.9 * polar_gain < gain <= polar_gain
    assert abs(raw_gain) < 0.5 * polar_gain


def test_bfloat16_gradients_keep_a_float32_buffer():
    gradients = [normal(t, 6, 9).astype(jnp.bfloat16) for t in range(3)]
    state = dion_of("qr").init({"w": gradients[0]})
    expected = numpy_dion("qr", [np.asarray(g, np.float64) for g in gradients], start_of(state))
    for (update, new_buffer), (direction, buffer) in zip(
        one_matrix(dion_of("qr"), gradients), expected, strict=True
    ):
        assert update.dtype == jnp.bfloat16
        assert new_buffer.buffers["w"].dtype == new_buffer.warm_starts["w"][0].dtype == jnp.float32
        np.testing.assert_allclose(HEADROOM * np.asarray(new_buffer.buffers["w"]), buffer, atol=1e-5)
        np.testing.assert_allclose(update.astype(np.float64), direction, atol=2**-8)


def test_attention_heads_and_fused_blocks_step_as_matrices_of_their_own():
    def rule(path, shape):
        return by_name(path, shape, heads="separate", fused={"qkv": (4, 4)})

    tx = scale_by_dion(MOMENTUM, right="qr", rank=2, routing=Routing(rule))
    query, qkv = np.float32(normal(0, 6, 3, 4)), np.float32(normal(1, 6, 8))
    gradients = {"query": {"kernel": query}, "qkv": {"kernel": qkv}}
    state = jax.jit(tx.init)(gradients)
    updates, _ = jax.tree.map(np.asarray, jax.jit(tx.update)(gradients, state))
    state = jax.tree.map(np.asarray, state)
    starts = [*state.warm_starts["query/kernel"][0], *(v[0] for v in state.warm_starts["qkv/kernel"])]
    places = [("query", np.s_[:, head]) for head in range(3)] + [("qkv", np.s_[:, :4]), ("qkv", np.s_[:, 4:])]
    for (leaf, cut), start in zip(places, starts, strict=True):
        ((expected, _),) = numpy_dion("qr", [gradients[leaf]["kernel"][cut]], np.asarray(start, np.float64))
        np.testing.assert_allclose(updates[leaf]["kernel"][cut], expected, atol=1e-5)


def of_spectrum(values, rows, columns, seed):
    left, right = signed_q(normal(seed, rows, len(values))), signed_q(normal(seed + 1, columns, len(values)))
    return np.float32(left * values @ right.T)


@pytest.mark.parametrize(
    ("shape", "rank", "lasting"), [((24, 40), 24, 20), ((24, 40), 24, 1), ((40, 24), 24, 1), ((24, 40), 9, 4)]
)
def test_in_float32_it_follows_the_published_steps_in_float64(shape, rank, lasting):
    # columns of M V near dependence: another basis of their span would be another V from the next step on
    values = np.exp(-np.arange(24) / 4)
    gradients = [of_spectrum(values, *shape, seed=2 * (t // lasting)) for t in range(20)]
    method = dion_of("normalize", rank)
    state = method.init({"w": gradients[0]})
    expected = numpy_dion("normalize", np.float64(gradients), np.float64(start_of(state)))
    for (update, _), (direction, _) in zip(one_matrix(method, gradients, state), expected, strict=True):
        assert np.linalg.norm(update - direction) < 1e-4 * np.linalg.norm(direction)
