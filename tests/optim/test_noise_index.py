"""The spec–sign index that part gradients give, against its formula in NumPy, and the choices it leads to."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from optim import Choice, NoiseIndex, spec_sign
from workloads import Workload, run_keys, train

BATCH, PARTS = 12, 3


def mean_of(part_gradients):
    return jax.tree.map(lambda g: jnp.mean(g, axis=0), part_gradients)


def numpy_index(parts, batch_size, tau, shift):
    """The spec–sign index of a matrix leaf from its stacked part gradients, by its formula."""
    parts = np.asarray(parts, np.float64)
    parts = parts if parts.shape[1] <= parts.shape[2] else parts.mT  # the shorter side counts
    mean, factor = parts.mean(axis=0), batch_size / (len(parts) - 1)
    covariance = factor * (np.mean([g @ g.T for g in parts], axis=0) - mean @ mean.T)
    variance = factor * (np.mean(parts**2, axis=0) - mean**2)
    noises = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0)).sum(), np.sqrt(variance).sum()
    signals = np.linalg.norm(mean, "nuc"), np.abs(mean).sum()
    gains = [max(s - tau * n / np.sqrt(batch_size), 0) for s, n in zip(signals, noises, strict=True)]
    return 2 * np.log(gains[0] / gains[1]) + shift


LEAVES = {"embed/embedding": (4, 6), "head/kernel": (3, 5), "hidden/kernel": (4, 4)}


def noisy_parts(seed):
    """The embedding's gradient is near orthogonal, the head's near constant: spectral against sign."""
    rng = np.random.default_rng(seed)
    means = np.eye(4, 6), np.ones((3, 5)), np.eye(4)
    return {
        leaf: np.float32(mean + 0.1 * rng.normal(size=(PARTS, *shape)))
        for (leaf, shape), mean in zip(LEAVES.items(), means, strict=True)
    }


@pytest.mark.parametrize(("tau", "ratio"), [(0.0, 1.5), (1.0, None)])
def test_the_index_is_the_formula_for_the_leaves_asked_for(tau, ratio):
    parts = noisy_parts(0)
    index = NoiseIndex(BATCH, tau=tau, log_smoothness_ratio=ratio)
    asked = {leaf: None if leaf == "hidden/kernel" else g.mean(0) for leaf, g in parts.items()}
    computed = jax.jit(lambda g, p: index(g, part_gradients=p, other="unread"))(asked, parts)
    assert set(computed) == {"embed/embedding", "head/kernel"}
    for leaf, value in computed.items():
        # curvature alike in all directions, the default: entries over the short side
        shift = np.log(max(LEAVES[leaf])) if ratio is None else ratio
        np.testing.assert_allclose(value, numpy_index(parts[leaf], BATCH, tau, shift), atol=2e-3)


@pytest.mark.parametrize("initial", ["spectral", "sign"])
@pytest.mark.parametrize("kinds", [("embed", "head"), ("head",)])
def test_exactly_the_leaves_flip_whose_index_says_so(initial, kinds):
    choice = Choice(NoiseIndex(BATCH, log_smoothness_ratio=1.5), every=1, initial=initial, kinds=kinds)
    tx = spec_sign(0.1, choice=choice, momentum=0.0)
    parts = noisy_parts(1)
    changing = [leaf for leaf in ("embed/embedding", "head/kernel") if leaf.split("/")[0] in kinds]
    # only leaves that may change are measured: integers would be refused
    integers = {leaf: np.zeros((PARTS, *shape), np.int32) for leaf, shape in LEAVES.items()}
    handed_over = {**integers, **{leaf: parts[leaf] for leaf in changing}}
    gradient = {leaf: g.mean(0) for leaf, g in parts.items()}
    state = jax.jit(tx.init)(gradient)
    step = jax.jit(lambda state, g, p: tx.update(g, state, g, part_gradients=p)[1])
    says = {leaf: bool(numpy_index(parts[leaf], BATCH, 1, 1.5) > 0) for leaf in changing}
    assert says == {leaf: leaf == "embed/embedding" for leaf in changing}
    for wanted in (dict.fromkeys(changing, initial == "spectral"), says):  # nobody looks at step 0
        state = step(state, gradient, handed_over)
        assert optax.tree_utils.tree_get(state, "spectral") == wanted


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_sharded_leaves_flip_as_others_do(kind):
    mesh, parts = jax.make_mesh((2, 4), ("x", "y"), axis_types=(kind, kind)), noisy_parts(1)
    parts = {leaf: np.tile(g, (1, 2, 4)) for leaf, g in parts.items()}
    choice = Choice(NoiseIndex(BATCH, log_smoothness_ratio=3.5), every=1)
    tx = spec_sign(0.1, choice=choice, momentum=0.0)
    sharded = {
        leaf: jax.device_put(g, NamedSharding(mesh, PartitionSpec(None, "x", "y")))
        for leaf, g in parts.items()
    }

    @jax.jit
    def two_steps(parts):
        gradient = mean_of(parts)

        def step(_, state):
            return tx.update(gradient, state, gradient, part_gradients=parts)[1]

        state = jax.lax.fori_loop(0, 2, step, tx.init(gradient))
        return optax.tree_utils.tree_get(state, "spectral")

    says = {leaf: bool(numpy_index(parts[leaf], BATCH, 1, 3.5) > 0) for leaf in LEAVES if leaf[:2] != "hi"}
    assert set(says.values()) == {True, False}
    assert two_steps(sharded) == says


def linear_layers():
    """Two linear layers on noisy data, named so that one is an embedding and one the head."""

    def loss(params, batch, key):
        inputs, targets = batch
        return jnp.mean((inputs @ params["embed"]["kernel"] @ params["head"]["kernel"] - targets) ** 2)

    def init(key):
        keys = jax.random.split(key)
        shapes = {"embed": (6, 4), "head": (4, 3)}
        return {
            name: {"kernel": jax.random.normal(k, shape)}
            for (name, shape), k in zip(shapes.items(), keys, strict=True)
        }

    rng = np.random.default_rng(0)
    data = tuple(jnp.float32(rng.normal(size=(64, width))) for width in (6, 3))
    return Workload(
        data=data,
        init=init,
        indices=lambda key, batch_size, num_steps: jax.random.randint(key, (num_steps, batch_size), 0, 64),
        batch=lambda data, indices: jax.tree.map(lambda x: x[indices], data),
        loss=loss,
        evaluate=lambda params, data: {"train_loss": loss(params, data, None)},
    )


def test_in_training_the_index_is_that_of_the_step_it_is_looked_at():
    workload, steps, every, shift = linear_layers(), 10, 2, 2.1
    index = NoiseIndex(16, log_smoothness_ratio=shift)

    def probe(params, state, batch, part_gradients, key):
        return {"parts": part_gradients, "spectral": optax.tree_utils.tree_get(state, "spectral")}

    def run(data, keys):
        choice = Choice(index, every=every, lock=False)
        return train(
            workload, data, lambda rate: spec_sign(rate, choice=choice), jnp.full(steps, 0.02), keys,
            batch_size=16, parts=4, probe=probe,
        ).probes  # fmt: skip

    records = jax.jit(run)(workload.data, run_keys(jax.random.key(0)))
    for leaf in ("embed", "head"):
        spectral = [True] * (every + 1)
        for step in range(every, steps - 1):
            parts = records["parts"][leaf]["kernel"][step]
            says = numpy_index(parts, 16, 1, shift) > 0
            spectral.append(says if step % every == 0 else spectral[-1])
        assert len(set(spectral[every + 1 :])) == 2  # the index changes its mind on the way
        np.testing.assert_array_equal(records["spectral"][f"{leaf}/kernel"], spectral, err_msg=leaf)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"tau": -1.0}, "tau must be in"),
    ],
)
def test_meaningless_options_of_the_index_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        NoiseIndex(**{"batch_size": BATCH, **options})
