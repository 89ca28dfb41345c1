"""The memory of a sweep, against arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads import AtOnce, Stages, run_mesh
from workloads.memory import fitting_vectorize, sweep_memory

WIDTH = 512


@AtOnce
def square(row, data):
    """A product of which every entry is needed before the next product."""
    return jnp.sum(jnp.tanh(jnp.tanh(data * row @ data) @ data))


@AtOnce
def matrix(row, data):
    return data * row


def walk(row, data):
    """A state as large as the data, to which they are added at every step."""
    return Stages(
        begin=lambda: data * row,
        advance=lambda state, start, until: jax.lax.fori_loop(start, until, lambda t, x: x + data, state),
        finish=jnp.sum,
    )


DATA = np.zeros((WIDTH, WIDTH), np.float32)
ROWS = np.zeros(64, np.float32)


def test_data_rows_and_results_are_counted_in_bytes_a_device():
    memory = sweep_memory(matrix, ROWS, DATA, mesh=run_mesh(4))
    assert memory.data == 4 * WIDTH**2
    assert memory.results == 16 * 4 * WIDTH**2
    assert 16 * 4 <= memory.rows < 16 * 4 + 64  # the rows, and how many groups to compute
    assert memory.states == 0
    assert memory.total == memory.data + memory.rows + memory.results + memory.work


@pytest.mark.parametrize("vectorize", [1, 4])
def test_the_states_of_the_runs_that_are_computed_at_a_time_are_counted_and_no_others(vectorize):
    memory = sweep_memory(walk, ROWS, DATA, mesh=run_mesh(4), vectorize=vectorize)
    assert memory.states == vectorize * 4 * WIDTH**2
    assert memory.results < 16 * 4 + 64  # and where both results are
    assert memory.total == memory.data + memory.rows + memory.states + memory.results + memory.work
    assert memory.work < 0.1 * memory.states  # a state begins and is advanced in place


def test_room_that_is_not_used_is_counted():
    assert sweep_memory(matrix, ROWS[:2], DATA, mesh=run_mesh(1), capacity=8).results == 8 * 4 * WIDTH**2


def test_every_device_has_room_for_two_groups_since_one_would_be_compiled_otherwise():
    for count, vectorize in ((1, 1), (4, 1), (3, 2)):
        memory = sweep_memory(matrix, ROWS[:count], DATA, mesh=run_mesh(4), vectorize=vectorize)
        assert memory.results == 2 * vectorize * 4 * WIDTH**2


def test_the_work_grows_with_the_runs_side_by_side():
    single, four = (sweep_memory(square, ROWS, DATA, vectorize=width).work for width in (1, 4))
    assert single >= 4 * WIDTH**2  # at least the one product that must be kept
    np.testing.assert_allclose(four, 4 * single, rtol=0.01)


@pytest.mark.parametrize("wanted", [1, 4, 16])
def test_as_many_runs_side_by_side_as_fit(wanted):
    mesh = run_mesh(2)
    room = sweep_memory(square, ROWS, DATA, mesh=mesh, vectorize=wanted).total
    assert fitting_vectorize(square, ROWS, DATA, room, mesh=mesh) == wanted
    assert fitting_vectorize(square, ROWS, DATA, 1 + 2 * room, mesh=mesh) >= wanted
    assert fitting_vectorize(square, ROWS, DATA, 10**12, mesh=mesh) == 32  # all 64 rows on two devices


def test_no_room_for_one_run_is_said_with_what_it_needs():
    needed = sweep_memory(square, ROWS, DATA).total
    with pytest.raises(
        ValueError, match=f"at least {needed:,} bytes a device for one run, got {needed - 1:,}"
    ):
        fitting_vectorize(square, ROWS, DATA, needed - 1)
