"""A sweep in segments against the same sweep at once, on other devices, and cut, saved and restored."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import SweepState, load, long_sweep, replicated, run_keys, run_mesh, sweep, train, trainer
from workloads.run import Stages

STEPS = 12
REGRESSION = load("linear_regression", dimension=6, exponent=0.5)
OPTIONS = {"batch_size": 2, "evaluate_at": (0, 5, STEPS), "average_decay": 0.5}


def at_once(row, data):
    return train(REGRESSION, data, optax.adam, row["rates"], run_keys(row["key"]), **OPTIONS)


def in_stages(row, data):
    return trainer(REGRESSION, data, optax.adam, row["rates"], run_keys(row["key"]), **OPTIONS)


def rows_of(count, seed=0):
    rates = np.linspace(0.01, 0.1, 32)[:count, None] * np.linspace(1, 0.2, STEPS)
    return {"rates": np.float32(rates), "key": jax.random.split(jax.random.key(seed), 32)[:count]}


def sweep_on(devices, count=11, stages=in_stages, *, data_parallel=1, **options):
    mesh = run_mesh(devices, data_parallel=data_parallel)
    return long_sweep(stages, rows_of(count), REGRESSION.data, mesh=mesh, **options)


def advanced(swept, *cuts):
    state = swept.begin()
    for until in cuts:
        state = swept.advance(state, until)
    return state


def results_of(swept, *cuts):
    return swept.finish(advanced(swept, *cuts, STEPS))


def assert_identical(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def assert_close(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), first, second)


@pytest.mark.parametrize("vectorize", [1, 4])
def test_a_sweep_in_segments_is_the_sweep_at_once(vectorize):
    expected = sweep(at_once, rows_of(11), REGRESSION.data, mesh=run_mesh(2), vectorize=vectorize)
    assert len(set(expected.metrics["train_loss"][:, -1].tolist())) == 11
    # two programs, whose last bits may differ
    assert_close(results_of(sweep_on(2, vectorize=vectorize), 3, 7), expected)


@pytest.mark.bits
@pytest.mark.parametrize(("devices", "vectorize"), [(1, 1), (2, 4), (8, 4)])
def test_cuts_and_fewer_rows_change_no_bit(devices, vectorize):
    swept = sweep_on(devices, vectorize=vectorize, capacity=32)
    reference = swept.whole(STEPS)
    for cuts in ((), (5,), (0, 1, 1, 7)):
        assert_identical(results_of(swept, *cuts), reference)
    fewer = sweep_on(devices, count=3, vectorize=vectorize, capacity=32)
    assert_identical(results_of(fewer, 2, 11), jax.tree.map(lambda leaf: leaf[:3], reference))


@pytest.mark.bits
@pytest.mark.parametrize(
    ("first_devices", "later_devices", "vectorize"), [(1, 1, 1), (8, 8, 4), (8, 2, 4), (2, 8, 4)]
)
def test_a_state_goes_on_where_it_is_restored(first_devices, later_devices, vectorize):
    first, second = (
        sweep_on(devices, vectorize=vectorize, capacity=32) for devices in (first_devices, later_devices)
    )
    saved = first.saved(advanced(first, 4))
    state = second.advance(second.restored(saved), 9)
    assert state.step == 9
    assert_identical(second.finish(second.advance(state, STEPS)), first.whole(STEPS))


@pytest.mark.parametrize(("first_devices", "later_devices"), [(1, 2), (2, 1)])
def test_one_device_and_several_go_on_for_each_other_up_to_round_off(first_devices, later_devices):
    first, second = sweep_on(first_devices, vectorize=4), sweep_on(later_devices, vectorize=4)
    resumed = second.finish(second.advance(second.restored(first.saved(advanced(first, 4))), STEPS))
    assert_close(resumed, first.whole(STEPS))


def test_devices_that_share_batches_go_on_as_they_began():
    whole = results_of(sweep_on(8, data_parallel=2))
    assert_identical(results_of(sweep_on(8, data_parallel=2), 1, 5), whole)
    first, second = sweep_on(8, data_parallel=2), sweep_on(4, data_parallel=2, capacity=30)
    restored = second.restored(first.saved(advanced(first, 6)))
    assert_identical(second.finish(second.advance(restored, STEPS)), whole)
    separate = results_of(sweep_on(2))  # each device its own runs
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), whole, separate)


def test_what_is_saved_is_that_of_the_rows_in_order_on_any_devices():
    mine, other = sweep_on(4, vectorize=2), sweep_on(3, vectorize=2, capacity=20)
    saved = mine.saved(advanced(mine, 5))
    assert_identical(saved, other.saved(advanced(other, 2, 5)))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(saved))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
    assert shapes == mine.saved_shapes()
    assert saved.runs.params.shape == (11, 6)
    assert saved.step == 5
    one_run = jax.jit(lambda row: in_stages(row, REGRESSION.data).begin())
    begun = mine.saved(mine.begin())
    for index in range(11):
        row = jax.tree.map(lambda leaf, index=index: leaf[index], rows_of(11))
        np.testing.assert_allclose(begun.runs.params[index], one_run(row).params, rtol=1e-6)


def walk(row, data):
    """Stages of which everything is known: a position, and a key that is part of the state."""

    def step(t, state):
        position, key = state
        return position + jax.random.randint(key, (), 0, 100) * data, jax.random.fold_in(key, t)

    return Stages(
        begin=lambda: (row["start"], row["key"]),
        advance=lambda state, start, until: jax.lax.fori_loop(start, until, step, state),
        finish=lambda state: {"end": state[0], "words": jax.random.key_data(state[1])},
    )


@pytest.mark.parametrize(("vectorize", "devices"), [(1, 1), (3, 2)])
def test_keys_in_a_state_are_saved_as_their_words_and_restored(vectorize, devices):
    inputs = {"start": np.arange(5, dtype=np.int32), "key": jax.random.split(jax.random.key(0), 5)}
    ends, words = [], []
    for start, key in zip(range(5), inputs["key"], strict=True):
        position = start
        for t in range(4):
            position += int(jax.random.randint(key, (), 0, 100)) * 2
            key = jax.random.fold_in(key, t)
        ends.append(position)
        words.append(np.asarray(jax.random.key_data(key)))
    swept = long_sweep(walk, inputs, np.int32(2), mesh=run_mesh(devices), vectorize=vectorize)
    saved = swept.saved(swept.advance(swept.begin(), 3))
    assert saved.runs[1].shape == (5, 2)
    assert saved.runs[1].dtype == np.uint32
    result = swept.finish(swept.advance(swept.restored(saved), 4))
    assert_identical(result, {"end": np.int32(ends), "words": np.stack(words)})


def test_the_state_is_spread_over_the_devices_and_its_memory_used_again():
    swept = sweep_on(4, count=11, vectorize=2)
    state = swept.begin()
    for runs in state.runs:  # of eight rows, and of three
        assert [shard.data.shape for shard in runs.params.addressable_shards] == [(2, 6)] * 4
    later = swept.advance(state, 3)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.runs))
    shardings = {leaf.sharding.spec for leaf in jax.tree.leaves(later.runs)}
    assert shardings == {jax.sharding.PartitionSpec("runs")}


def test_another_sweep_of_the_same_stages_compiles_nothing():
    traces, compiled = [], []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details)

    def stages(row, data):
        traces.append(row)
        return in_stages(row, data)

    def restored_results(seed):
        swept = long_sweep(stages, rows_of(5, seed), REGRESSION.data, mesh=run_mesh(2), vectorize=2)
        saved = swept.saved(advanced(swept, 3 + seed))
        return swept.finish(swept.advance(swept.restored(saved), STEPS)).params

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        first = restored_results(0)
        counts = len(compiled), len(traces)
        second = restored_results(1)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert min(counts) > 0
    assert (len(compiled), len(traces)) == counts
    assert np.all(np.asarray(first) != np.asarray(second))


def test_advancing_copies_nothing_of_the_data_or_the_rows():
    mesh = run_mesh(2)
    data = replicated(REGRESSION.data, mesh)
    swept = long_sweep(in_stages, jax.device_put(rows_of(11)), data, mesh=mesh)
    state = swept.advance(swept.begin(), 2)  # compiles
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(swept.advance(state, 7).runs)


def test_meaningless_segments_and_states_are_refused():
    swept, longer = sweep_on(2), sweep_on(2, count=12)
    state = advanced(swept, 5)
    with pytest.raises(ValueError, match="until must be at least 5, the steps done, got 4"):
        swept.advance(state, 4)
    with pytest.raises(ValueError, match="saved must have the shapes"):
        longer.restored(swept.saved(state))
    with pytest.raises(ValueError, match="saved must have the shapes"):
        swept.restored(SweepState(swept.saved(state).step, {"params": jnp.zeros(11)}))
