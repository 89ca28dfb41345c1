"""Accumulated batches against the algorithm in NumPy, optax.MultiSteps, and other splits of the examples."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optim
from geometry import EUCLIDEAN, SIGN, SPECTRAL
from optim import BatchController, adaptive_batch

MICRO, COUNT = 4, 150  # examples in a micro-batch, micro-batches in a run
SHAPES = {"bias": (6,), "dense/kernel": (4, 6)}
CURVATURE = {"bias": 0.5, "dense/kernel": 1.0}


def drawn(seed, *leading):
    rng = np.random.default_rng(seed)
    return {leaf: rng.normal(size=(*leading, *shape)) for leaf, shape in SHAPES.items()}


def single(tree, dtype=np.float32):
    return jax.device_put(jax.tree.map(lambda x: x.astype(dtype), tree))


def table(microbatches):
    return 0.3 / (1 + 0.02 * microbatches)


def controlled(geometry, **options):
    defaults = {"quantum": 2 * MICRO, "theta": 0.25, "every": 2, "warmup_samples": 60}
    return BatchController(geometry, 2 * MICRO, 32 * MICRO, **(defaults | options))


def gradient(params, noise):
    """Of ½ Σ c w², with the micro-batch's own noise."""
    return {leaf: CURVATURE[leaf] * w + noise[leaf] for leaf, w in params.items()}


def loop(tx, params, noises):
    """All micro-batches in one scan → the parameters after each, and the last state."""

    def step(carry, noise):
        params, state = carry
        updates, state = tx.update(gradient(params, noise), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state.control)

    run = jax.jit(lambda p, n: jax.lax.scan(step, (p, tx.init(p)), n))
    return jax.tree.map(np.asarray, run(params, noises))


def momentum_descent(schedule):
    return optax.sgd(schedule, momentum=0.8)


@functools.cache
def growing(geometry):
    """A transformation whose batch grows, and its run."""
    options = {"microbatch_size": MICRO, "num_microbatches": COUNT}
    tx = adaptive_batch(momentum_descent, table, controlled(geometry), **options)
    return tx, loop(tx, single(drawn(0)), single(drawn(1, COUNT)))


def measured_in_numpy(geometry, parts, batch):
    """noise² and signal² of stacked part gradients, from the formulas, in float64."""
    count = len(parts["bias"])
    noise, signal = 0.0, 0.0
    for leaf, stack in parts.items():
        mean = stack.mean(0)
        gaps = stack - mean
        factor = batch / (count * (count - 1))
        deviations = np.sqrt(factor * (gaps**2).sum(0))
        if geometry is EUCLIDEAN:
            noise, signal = noise + (deviations**2).sum(), signal + (mean**2).sum()
        elif geometry is SIGN or leaf == "bias":
            noise, signal = noise + deviations.sum(), signal + np.abs(mean).sum()
        else:
            covariance = factor * sum(gap @ gap.T for gap in gaps)
            noise += np.sqrt(np.linalg.eigvalsh(covariance).clip(0)).sum()
            signal += np.linalg.svd(mean, compute_uv=False).sum()
    return (noise, signal) if geometry is EUCLIDEAN else (noise**2, signal**2)


def expected_run(geometry, params, noises, controller):
    """The algorithm in float64 with heavy-ball momentum → parameters, batch after each micro-batch, steps."""
    trace = {leaf: np.zeros(shape) for leaf, shape in SHAPES.items()}
    batch, factor, begun, steps, n, m, weight = controller.batch_size, 1.0, 0, 0, 0.0, 0.0, 1.0
    gathered, history, batches = [], [], []
    for micro in range(COUNT):
        gathered.append(gradient(params, {leaf: noise[micro] for leaf, noise in noises.items()}))
        if len(gathered) * MICRO >= batch or micro + 1 == COUNT:
            parts = {leaf: np.stack([g[leaf] for g in gathered]) for leaf in SHAPES}
            trace = {leaf: 0.8 * t + parts[leaf].mean(0) for leaf, t in trace.items()}
            params = {leaf: w - factor * table(begun) * trace[leaf] for leaf, w in params.items()}
            steps, begun = steps + 1, micro + 1
            if steps % controller.every == 0:
                noise, signal = measured_in_numpy(geometry, parts, len(gathered) * MICRO)
                n, m, weight = 0.9 * n + 0.1 * noise, 0.9 * m + 0.1 * signal, 0.9 * weight
                wanted = n / m / controller.theta**2
                if begun * MICRO >= controller.warmup_samples and wanted > batch:
                    rounded = controller.quantum * math.ceil(wanted / controller.quantum)
                    new = min(rounded, controller.max_batch_size)
                    batch, factor = new, factor * math.sqrt(new / batch)
            gathered = []
        history.append(params)
        batches.append(batch)
    return {leaf: np.stack([p[leaf] for p in history]) for leaf in SHAPES}, batches, steps


@pytest.mark.parametrize("geometry", [EUCLIDEAN, SIGN, SPECTRAL])
def test_it_is_the_algorithm(geometry):
    _, ((_, state), (history, control)) = growing(geometry)
    expected, batches, steps = expected_run(geometry, drawn(0), drawn(1, COUNT), controlled(geometry))
    assert batches[-1] >= 8 * batches[0], "the batch should grow"
    np.testing.assert_array_equal(control.batch_size, batches)
    for leaf, values in expected.items():
        np.testing.assert_allclose(history[leaf], values, rtol=1e-4, atol=1e-5, err_msg=leaf)
    assert state.control.steps == steps
    assert state.control.samples == COUNT * MICRO, "every example is used, the last ones in a smaller batch"


def test_a_batch_that_may_not_grow_is_that_of_multi_steps():
    """Also for methods with state of their own; the learning rates are those at the batch's first example."""
    k, params, noises = 3, single(drawn(0)), single(drawn(1, COUNT))
    fixed = BatchController(SIGN, k * MICRO, k * MICRO, quantum=MICRO, every=2)
    ours = adaptive_batch(optim.muon, table, fixed, microbatch_size=MICRO)
    reference = optax.MultiSteps(optim.muon(lambda step: table(k * step)), k)  # with Adam on the bias

    def step(carry, noise):
        params, state = carry
        updates, state = reference.update(gradient(params, noise), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    _, expected = jax.jit(lambda p, n: jax.lax.scan(step, (p, reference.init(p)), n))(params, noises)
    _, (history, _) = loop(ours, params, noises)
    chex.assert_trees_all_close(history, expected, rtol=1e-4, atol=1e-5)


def test_parts_of_a_microbatch_count_as_smaller_microbatches():
    params, noises = single(drawn(0)), single(drawn(1, COUNT))
    options = {"microbatch_size": MICRO, "num_microbatches": COUNT}
    controller = BatchController(SIGN, 6 * MICRO, 48 * MICRO, quantum=3 * MICRO, theta=0.25, every=2)
    _, (fine, control) = loop(adaptive_batch(optax.sgd, table, controller, **options), params, noises)
    coarse = adaptive_batch(
        optax.sgd, lambda micro: table(3 * micro), controller, microbatch_size=3 * MICRO,
        num_microbatches=COUNT // 3,
    )  # fmt: skip

    def step(carry, noise):
        params, state = carry
        parts = jax.vmap(gradient, in_axes=(None, 0))(params, noise)
        mean = jax.tree.map(lambda g: jnp.mean(g, axis=0), parts)
        updates, state = coarse.update(mean, state, params, part_gradients=parts)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state.control.batch_size)

    tripled = {leaf: np.reshape(n, (COUNT // 3, 3, *n.shape[1:])) for leaf, n in noises.items()}
    _, (history, batches) = jax.jit(lambda p, n: jax.lax.scan(step, (p, coarse.init(p)), n))(params, tripled)
    assert batches[-1] > 4 * batches[0]
    np.testing.assert_array_equal(batches, control.batch_size[2::3])
    chex.assert_trees_all_close(history, jax.tree.map(lambda h: h[2::3], fine), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("geometry", [SIGN, SPECTRAL])
def test_ranks_that_each_accumulate_their_own_are_one_run(geometry):
    """Four ranks of one example equal one process that gets the four as parts."""
    ranks, steps = 4, 60
    controller = BatchController(geometry, 8, 128, quantum=4, theta=0.25, every=2)
    options = {"microbatch_size": 4, "num_microbatches": steps}
    whole = adaptive_batch(momentum_descent, table, controller, **options)
    ranked = adaptive_batch(momentum_descent, table, controller, axis_name="ranks", **options)
    noises = single(drawn(1, steps, ranks))

    def run_alone(params, noises):
        def step(carry, noise):
            params, state = carry
            parts = jax.vmap(gradient, in_axes=(None, 0))(params, noise)
            updates, state = whole.update(
                jax.tree.map(lambda g: g[0], parts), state, params, part_gradients=parts
            )
            return (optax.apply_updates(params, updates), state), state.control.batch_size

        (params, _), batches = jax.lax.scan(step, (params, whole.init(params)), noises)
        return params, batches

    def run_ranked(params, noises):
        def step(carry, noise):
            params, state = carry
            mine = jax.lax.pcast(params, "ranks", to="varying")
            updates, state = ranked.update(gradient(mine, noise), state, params)
            return (optax.apply_updates(params, updates), state), state.control.batch_size

        own = jax.tree.map(lambda n: n[:, 0], noises)
        (params, _), batches = jax.lax.scan(step, (params, ranked.init(params)), own)
        return params, batches

    mesh = jax.make_mesh((ranks,), ("ranks",), axis_types=(AxisType.Auto,))
    by_rank = PartitionSpec(None, "ranks")
    sharded = jax.shard_map(
        run_ranked, mesh=mesh, in_specs=(PartitionSpec(), by_rank), out_specs=PartitionSpec()
    )
    params = single(drawn(0))
    expected, batches = jax.jit(run_alone)(params, noises)
    computed, ranked_batches = jax.jit(sharded)(params, noises)
    assert batches[-1] > 4 * batches[0]
    np.testing.assert_array_equal(ranked_batches, batches)
    chex.assert_trees_all_close(computed, expected, rtol=1e-4, atol=1e-5)


def test_sharded_parameters_grow_the_same_batch():
    mesh = jax.make_mesh((2, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
    specs = {"bias": PartitionSpec("y"), "dense/kernel": PartitionSpec("x", "y")}
    tx, (_, expected) = growing(SPECTRAL)

    def put(tree, *leading):
        shardings = {
            leaf: NamedSharding(mesh, PartitionSpec(*leading, *spec)) for leaf, spec in specs.items()
        }
        return jax.device_put(tree, shardings)

    _, computed = loop(tx, put(single(drawn(0))), put(single(drawn(1, COUNT)), None))
    batches, begun = expected[1].batch_size, np.s_[:24]
    np.testing.assert_array_equal(computed[1].batch_size, batches)
    assert batches[begun][-1] > batches[0]
    for leaf, values in expected[0].items():
        np.testing.assert_allclose(computed[0][leaf][begun], values[begun], rtol=1e-5, atol=1e-6)


def test_a_batch_that_grows_16_fold_compiles_nothing_anew():
    controller = controlled(SIGN, every=1, warmup_samples=0)
    tx = adaptive_batch(optax.adam, table, controller, microbatch_size=MICRO)
    params = single(drawn(0))
    state = jax.jit(tx.init)(params)

    @jax.jit
    @chex.assert_max_traces(1)
    def step(params, state, noise):
        updates, state = tx.update(gradient(params, noise), state, params)
        return optax.apply_updates(params, updates), state

    for noise in (single(drawn(seed)) for seed in range(COUNT)):
        params, state = step(params, state, noise)
    assert state.control.batch_size == 16 * 2 * MICRO


@pytest.mark.parametrize(
    ("kept", "given"), [(jnp.float32, jnp.bfloat16), (jnp.bfloat16, jnp.float32)], ids=["narrow", "wide"]
)
def test_gradients_of_another_dtype_are_those_of_multi_steps(kept, given):
    fixed = BatchController(SPECTRAL, 2 * MICRO, 2 * MICRO, quantum=MICRO, every=1)
    ours = adaptive_batch(optim.muon, lambda _: 0.1, fixed, microbatch_size=MICRO)
    theirs, params = optax.MultiSteps(optim.muon(lambda _: 0.1), 2), single(drawn(0), kept)
    states = jax.jit(lambda p: (ours.init(p), theirs.init(p)))(params)

    @jax.jit
    def both(gradients, states):
        pairs = zip((ours, theirs), states, strict=True)
        return tuple(zip(*(tx.update(gradients, state, params) for tx, state in pairs), strict=True))

    for step in range(4):
        (updates, expected), states = both(single(drawn(step), given), states)
        # ours is of the mean in float32, theirs of one in the narrower dtype
        chex.assert_trees_all_equal_dtypes(updates, expected)
        chex.assert_trees_all_close(updates, expected, atol=2**-6)
    chex.assert_trees_all_equal_dtypes(states[0].inner, states[1].inner_opt_state)


def test_outside_jit_it_is_the_same():
    tx = adaptive_batch(optax.sgd, table, controlled(SIGN, every=1, warmup_samples=0), microbatch_size=MICRO)
    updates, states = (tx.update, jax.jit(tx.update)), [jax.jit(tx.init)(single(drawn(0)))] * 2
    for step in range(3):  # each of them traces anew: within a batch, at its end, and in a larger one
        gradients = single(drawn(step))
        results = [update(gradients, state) for update, state in zip(updates, states, strict=True)]
        chex.assert_trees_all_close(*(update for update, _ in results), rtol=1e-5, atol=1e-7)
        states = [state for _, state in results]
    assert states[0].control.batch_size == states[1].control.batch_size > 2 * MICRO


def test_gradients_keep_their_dtype():
    tx = adaptive_batch(optax.sgd, table, controlled(SIGN), microbatch_size=MICRO)
    params = single(drawn(0), jnp.bfloat16)
    state, update = tx.init(params), jax.jit(tx.update)
    for _ in range(2):
        updates, state = update(params, state, params)
    for leaf, update in updates.items():
        assert update.dtype == jnp.bfloat16
        np.testing.assert_allclose(update, -0.3 * np.float32(params[leaf]), rtol=2**-7, err_msg=leaf)
    assert {mean.dtype for mean in jax.tree.leaves(state.moments.mean)} == {jnp.dtype("float32")}


def test_the_plan_of_the_optimizer_inside_is_described():
    tx = adaptive_batch(optim.muon, lambda micro: 0.3, controlled(SIGN), microbatch_size=MICRO)
    params = single(drawn(0)) | {"head/kernel": jnp.zeros((6, 2))}
    assert optim.describe(tx, params) == optim.describe(optim.muon(0.3), params)


@pytest.mark.parametrize(
    ("controller", "options", "message"),
    [
        ({}, {"microbatch_size": 0}, r"microbatch_size must be in \[1, inf\), got 0"),
        ({}, {"microbatch_size": 4, "num_microbatches": 0}, r"num_microbatches must be in \[1, inf\), got 0"),
        ({}, {"microbatch_size": 3}, "batch_size must be a multiple of microbatch_size=3, got 8"),
        ({"quantum": 6}, {"microbatch_size": 4}, "quantum must be a multiple of microbatch_size=4, got 6"),
    ],
)
def test_a_bad_option_is_named(controller, options, message):
    with pytest.raises(ValueError, match=message):
        adaptive_batch(optax.sgd, table, controlled(SIGN, **controller), **options)


def test_one_gradient_alone_tells_no_noise():
    tx = adaptive_batch(optax.sgd, table, controlled(SIGN), microbatch_size=2 * MICRO)
    params = single(drawn(0))
    with pytest.raises(ValueError, match="in a batch of 8 examples cannot be told from one gradient"):
        tx.update(params, tx.init(params), params)
