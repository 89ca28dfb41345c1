"""Noise recorded in an optimizer chain, against the noise scales of the same part gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from geometry import EUCLIDEAN, SIGN, SPECTRAL, noise_scale
from optim import record_noise

GEOMETRIES = (EUCLIDEAN, SIGN, SPECTRAL)
SHAPES = {"bias": (4,), "conv/kernel": (2, 2, 2, 4), "dense/kernel": (4, 8)}
BATCH, PARTS, STEPS = 12, 3, 7


def drawn(*leading, seed=0):
    rng = np.random.default_rng(seed)
    return {leaf: np.float32(1 + rng.normal(size=(*leading, *shape))) for leaf, shape in SHAPES.items()}


def mean_of(part_gradients, axis=0):
    return jax.tree.map(lambda g: jnp.mean(g, axis=axis), part_gradients)


def averages_over(tx, part_gradients):
    """The value of every running average after each step; all steps in one program."""

    def step(state, parts):
        _, state = tx.update(mean_of(parts), state, part_gradients=parts)
        return state, {name: average.value for name, average in state.average.items()}

    return jax.jit(lambda parts: jax.lax.scan(step, tx.init(mean_of(parts, (0, 1))), parts)[1])(
        part_gradients
    )


@functools.cache
def averages_of_one_machine():
    """Of a single step on four parts."""
    return averages_over(record_noise(BATCH), drawn(1, 4))


@functools.cache
def terms():
    """noise² and signal² of every step, by geometry."""
    parts = drawn(STEPS, PARTS)
    parts["conv/kernel"] = parts["conv/kernel"].reshape(STEPS, PARTS, 8, 4)

    @jax.jit
    @jax.vmap
    def measured(parts):
        scales = [noise_scale(parts, BATCH, geometry) for geometry in GEOMETRIES]
        return [(scale.noise**2, scale.signal**2) for scale in scales]

    return measured(parts)


def expected_averages(every, noise_decay, signal_decay):
    """The debiased recursion over the noise scales of steps 0, every, 2·every, …, in NumPy."""
    values = {}
    for geometry, (noises, signals) in zip(GEOMETRIES, terms(), strict=True):
        values[geometry.name], numerator, denominator = [], 0.0, 0.0
        for step, (noise, signal) in enumerate(zip(*map(np.float64, (noises, signals)), strict=True)):
            measured = step // every + 1
            if step % every == 0:
                numerator = noise_decay * numerator + (1 - noise_decay) * noise
                denominator = signal_decay * denominator + (1 - signal_decay) * signal
            weights = 1 - noise_decay**measured, 1 - signal_decay**measured
            values[geometry.name].append(numerator / weights[0] / (denominator / weights[1]))
    return values


@pytest.mark.parametrize("every", [1, 3])
def test_the_average_is_that_of_the_noise_scales_at_its_steps(every):
    tx = record_noise(BATCH, every=every, noise_decay=0.7, signal_decay=0.4)
    computed = averages_over(tx, drawn(STEPS, PARTS))
    expected = expected_averages(every, 0.7, 0.4)
    assert computed.keys() == expected.keys()
    for name, values in computed.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, err_msg=name)


def test_updates_pass_through_bit_by_bit():
    record = record_noise(BATCH, (EUCLIDEAN, SIGN), every=2)
    chained, adam = optax.chain(record, optax.adam(0.1)), optax.adam(0.1)

    @jax.jit
    def step(params, parts, states):
        gradient = mean_of(parts)
        (passed, _), (ours, mine) = (
            record.update(gradient, states[0][0], part_gradients=parts),
            chained.update(gradient, states[0], params, part_gradients=parts),
        )
        theirs, others = adam.update(gradient, states[1], params)
        return (passed, gradient), (ours, theirs), (mine, others)

    params = drawn()
    states = jax.jit(lambda params: (chained.init(params), adam.init(params)))(params)
    for t in range(3):
        passed, adams, states = step(params, drawn(PARTS, seed=t), states)
        jax.tree.map(np.testing.assert_array_equal, *passed)
        # computed twice in one program, which may round twice
        jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-6), *adams)
    assert states[0][0].count == 3
    assert step._cache_size() == 1


def test_outside_jit_they_pass_through_too():
    record = record_noise(BATCH, (EUCLIDEAN, SIGN), every=2)
    gradient, parts = (jax.device_put({"bias": drawn(*leading)["bias"]}) for leading in ((), (PARTS,)))
    state = record.init(gradient)
    for _ in range(3):
        passed, state = record.update(gradient, state, part_gradients=parts)
        jax.tree.map(np.testing.assert_array_equal, passed, gradient)
    assert state.count == 3


@pytest.mark.parametrize("handed_over", [True, False])
def test_ranks_measure_what_one_machine_does(handed_over):
    # without part gradients, a rank's own gradient, not yet averaged, is its part
    tx = record_noise(BATCH, axis_name="ranks")
    gradients = {leaf: parts[0] for leaf, parts in drawn(1, 4).items()}

    def measured(own):
        extra = {"part_gradients": own} if handed_over else {}
        gradient = mean_of(own)
        updates, state = tx.update(gradient, tx.init(gradient), **extra)
        return jax.tree.map(lambda g: g[None], updates), [average.value for average in state.average.values()]

    mesh = jax.make_mesh((4,), ("ranks",), axis_types=(AxisType.Auto,))
    specs = PartitionSpec("ranks"), PartitionSpec()
    updates, values = jax.jit(jax.shard_map(measured, mesh=mesh, in_specs=specs[:1], out_specs=specs))(
        gradients
    )
    jax.tree.map(np.testing.assert_array_equal, updates, gradients)
    for value, expected in zip(values, averages_of_one_machine().values(), strict=True):
        np.testing.assert_allclose(value, expected[0], rtol=1e-4)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_sharded_parameters_have_the_same_noise(kind):
    mesh, tx = jax.make_mesh((2, 4), ("x", "y"), axis_types=(kind, kind)), record_noise(BATCH)
    specs = {"bias": ("y",), "conv/kernel": ("x", None, None, "y"), "dense/kernel": ("x", "y")}
    parts, expected = drawn(1, 4), averages_of_one_machine()
    sharded = {
        leaf: jax.device_put(g, NamedSharding(mesh, PartitionSpec(None, None, *specs[leaf])))
        for leaf, g in parts.items()
    }
    for name, value in averages_over(tx, sharded).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"noise_decay": 1.0}, r"noise_decay must be in \[0, 1\), got 1.0"),
        ({"signal_decay": -0.1}, r"signal_decay must be in \[0, 1\), got -0.1"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        record_noise(**{"batch_size": BATCH, **options})


def test_one_part_is_refused():
    tx = record_noise(BATCH, (EUCLIDEAN,))
    for extra in ({}, {"part_gradients": drawn(1)}):
        with pytest.raises(ValueError, match="at least two parts, got 1"):
            jax.eval_shape(lambda g, extra: tx.update(g, tx.init(g), **extra), drawn(), extra)
