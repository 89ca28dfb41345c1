"""Many runs at once, against one after the other."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import load, run_keys, run_mesh, sweep, train

STEPS = 12
REGRESSION = load("linear_regression", dimension=6, exponent=0.5)


def regression_run(row, data):
    return train(
        REGRESSION,
        data,
        optax.sgd,
        row["rates"],
        run_keys(row["key"]),
        batch_size=2,
        evaluate_at=(0, 5, STEPS),
    )


TRACES = []  # of the runs whose programs the tests of bits share


def traced_run(row, data):
    TRACES.append(row)
    return regression_run(row, data)


def rows_of(count, seed=0):
    """Learning rates and keys that differ from row to row; the first rows are those of a shorter sweep."""
    rates = np.linspace(0.1, 1.0, 32)[:count, None] * np.linspace(1, 0.2, STEPS)
    return {
        "rates": jnp.asarray(np.float32(rates)),
        "key": jax.random.split(jax.random.key(seed), 32)[:count],
    }


def row_of(inputs, index):
    return jax.tree.map(lambda leaf: leaf[index], inputs)


def on_host(tree):
    """Of which a part is taken without a program."""
    return jax.tree.map(np.asarray, tree)


def assert_identical(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def assert_close(computed, expected, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol), computed, expected)


def one_by_one(run, inputs, data):
    count = jax.tree.leaves(inputs)[0].shape[0]
    compiled = jax.jit(run)
    results = [compiled(row_of(inputs, index), data) for index in range(count)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *results)


def test_a_sweep_equals_a_python_loop_over_its_runs():
    inputs = rows_of(11)
    expected = one_by_one(regression_run, inputs, REGRESSION.data)
    assert_close(sweep(regression_run, inputs, REGRESSION.data), expected)
    assert_close(sweep(regression_run, inputs, REGRESSION.data, vectorize=4), expected)


@pytest.mark.bits
@pytest.mark.parametrize(("vectorize", "others"), [(1, 2), (4, 3)])
def test_numbers_of_several_devices_and_of_rows_change_no_bit(vectorize, others):
    def swept(count, num_devices, capacity=32):
        options = {"mesh": run_mesh(num_devices), "vectorize": vectorize, "capacity": capacity}
        return on_host(sweep(traced_run, rows_of(count), REGRESSION.data, **options))

    reference = swept(11, 8)
    assert reference.metrics["train_loss"].shape == (11, 3)
    assert_identical(swept(11, others), reference)
    assert_identical(swept(1, 8, capacity=1), row_of(reference, slice(1)))
    single = swept(11, 1)
    assert_identical(swept(7, 1), row_of(single, slice(7)))
    assert_close(single, reference)  # another program


@pytest.mark.bits
@pytest.mark.parametrize(("num_devices", "vectorize"), [(1, 1), (2, 1), (8, 4)])
def test_room_for_more_rows_changes_no_bit_and_serves_any_number_of_them(vectorize, num_devices):
    def swept(count):
        options = {"mesh": run_mesh(num_devices), "vectorize": vectorize, "capacity": 32}
        return on_host(sweep(traced_run, rows_of(count), REGRESSION.data, **options))

    whole = swept(32)
    TRACES.clear()
    for count in (1, 11):
        assert_identical(swept(count), row_of(whole, slice(count)))
    assert not TRACES


def test_more_rows_than_there_is_room_for_are_refused():
    with pytest.raises(ValueError, match="capacity must be at least the 5 rows of inputs, got 4"):
        sweep(regression_run, rows_of(5), REGRESSION.data, capacity=4)


@pytest.mark.bits
def test_the_number_of_several_devices_changes_no_bit_of_a_network():
    digits = load("digits")

    def run(row, data):
        return train(digits, data, optax.adam, row["rates"] / 100, run_keys(row["key"]), batch_size=16)

    two, eight = (sweep(run, rows_of(3), digits.data, mesh=run_mesh(count), capacity=16) for count in (2, 8))
    assert_identical(eight, two)


def test_momenta_and_seeds_of_a_nested_pytree_reach_their_runs():
    def run(row, data):
        (momentum, rates), key = row["method"], row["key"]
        method = lambda schedule: optax.sgd(schedule, momentum=momentum)  # noqa: E731
        return train(REGRESSION, data, method, rates, run_keys(key), batch_size=2).params

    inputs = rows_of(5)
    momenta, rates, keys = np.linspace(0, 0.9, 5), inputs["rates"], inputs["key"]
    swept = sweep(run, {"method": (jnp.float32(momenta), rates), "key": keys}, REGRESSION.data, vectorize=2)
    root = np.asarray(REGRESSION.data, np.float64)
    for index, momentum in enumerate(momenta):
        run_key = run_keys(keys[index])
        weights, trace = np.asarray(REGRESSION.init(run_key.init), np.float64), 0
        batches = np.asarray(REGRESSION.indices(run_key.data, 2, STEPS))
        for rate, batch in zip(np.asarray(rates[index]), batches, strict=True):
            gradient = 6 / 2 * root[batch].T @ (root[batch] @ weights)  # of (D/2) mean((A w)_b²)
            trace = momentum * trace + gradient
            weights = weights - rate * trace
        np.testing.assert_allclose(swept[index], weights, rtol=1e-4, atol=1e-5)


def test_weight_decays_reach_their_runs():
    def run(row, data):
        method = lambda schedule: optax.adamw(schedule, weight_decay=row["decay"])  # noqa: E731
        return train(REGRESSION, data, method, row["rates"], run_keys(row["key"]), batch_size=2).params

    inputs = {**rows_of(3), "decay": jnp.float32([0.0, 0.1, 0.9])}
    swept = sweep(run, inputs, REGRESSION.data)
    for index, decay in enumerate([0.0, 0.1, 0.9]):
        constant = {**row_of(inputs, index), "decay": decay}
        np.testing.assert_allclose(swept[index], run(constant, REGRESSION.data), rtol=1e-4, atol=1e-5)


def test_rows_stay_in_order_and_padding_is_cut_off():
    inputs = {"x": jnp.arange(13.0), "y": np.arange(26).reshape(13, 2)}
    for vectorize in (1, 3, 20):
        doubled = sweep(
            lambda row, data: jax.tree.map(lambda x: 2 * x + data, row), inputs, 1, vectorize=vectorize
        )
        np.testing.assert_array_equal(doubled["x"], 2 * np.arange(13.0) + 1)
        np.testing.assert_array_equal(doubled["y"], 2 * np.arange(26).reshape(13, 2) + 1)


def test_a_second_sweep_compiles_nothing():
    events = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(details)

    traces = []

    def run(row, data):
        traces.append(row)
        return regression_run(row, data).metrics

    first_rows, second_rows = rows_of(5), rows_of(5, seed=1)
    second_rows["rates"] = second_rows["rates"] * 0.5
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        first = sweep(run, first_rows, REGRESSION.data, vectorize=2)
        compiled, traced = len(events), len(traces)
        second = sweep(run, second_rows, REGRESSION.data, vectorize=2)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled > 0
    assert traced > 0
    assert len(events) == compiled
    assert len(traces) == traced
    assert np.all(np.asarray(first["train_loss"]) != np.asarray(second["train_loss"]))


def largest_constant(hlo):
    """Elements of the largest array written into a compiled program."""
    shapes = re.findall(r"= \w+\[([\d,]*)\]\S* constant\(", hlo)
    return max(np.prod([int(size) for size in shape.split(",") if size], dtype=int) for shape in shapes)


def test_the_data_are_an_argument_of_the_program_and_not_a_constant():
    digits = load("digits")

    def run(row, data):
        return train(digits, data, optax.adam, row["rates"], run_keys(row["key"]), batch_size=16)

    def closed_over(row, data):
        return digits.data.train_images[..., 0] @ row["rates"][:8]

    def program(run):
        swept = jax.jit(lambda inputs, data: sweep(run, inputs, data, mesh=run_mesh(1)))
        return swept.lower(rows_of(1), digits.data).compile().as_text()

    assert largest_constant(program(run)) < 360  # not even one label of each test image
    assert largest_constant(program(closed_over)) >= 1437 * 64  # what the line above looks for


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_mesh_has_the_first_devices(count):
    mesh = run_mesh(count)
    assert mesh.axis_names == ("runs", "data")
    assert mesh.devices.ravel().tolist() == jax.devices()[:count]


def test_a_mesh_has_all_devices_by_default():
    assert len(jax.devices()) == 8
    assert run_mesh().devices.ravel().tolist() == jax.devices()


@pytest.mark.parametrize("count", [0, -1, 9])
def test_a_mesh_of_devices_that_are_not_there_is_refused(count):
    with pytest.raises(ValueError, match=rf"num_devices must be in \[1, 8\].* got {count}"):
        run_mesh(count)


@pytest.mark.parametrize(
    ("inputs", "vectorize", "message"),
    [
        ({"x": jnp.ones(3)}, 0, "vectorize must be at least 1, got 0"),
        ({}, 1, "number of rows"),
        ({"x": jnp.float32(1)}, 1, r"number of rows.* got \[0\]"),
        ({"x": jnp.ones((0, 2))}, 1, r"number of rows.* got \[0\]"),
        ({"x": jnp.ones(3), "y": jnp.ones((2, 3))}, 1, r"number of rows.* got \[2, 3\]"),
    ],
)
def test_meaningless_sweeps_are_refused(inputs, vectorize, message):
    with pytest.raises(ValueError, match=message):
        sweep(lambda row, data: row, inputs, None, vectorize=vectorize)
