"""Sweeps where memory runs out: fewer rows first, a narrower width last and remembered."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import workloads
from experiments.study.options.errors import StudyError
from experiments.study.running.sweeping import NARROWED, Departure, Sweep
from experiments.study.storage.journal import Journal

ROWS = np.linspace(0.1, 1.3, 50, dtype=np.float32)
FACTOR = np.float32(1.7)
DEVICES = 2
MESSAGES = (
    jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes."
    ),
    jax.errors.JaxRuntimeError(
        "INTERNAL: Error dispatching computation: Out of memory allocating 4398046511104"
    ),
    MemoryError("Unable to allocate 512. GiB"),
)


def run(row, factor):
    return {"score": np.float32(2) * row * factor, "pair": row * np.arange(2, dtype=np.float32)}


@pytest.fixture
def mesh():
    return workloads.run_mesh(DEVICES)


@pytest.fixture
def attempts(monkeypatch):
    """Devices with room for so many rows and so many side by side; every attempt is noted."""
    real, noted = workloads.sweep, []

    def limit(most_rows, most_together=64, error=MESSAGES[0]):
        def sweep(run, inputs, data, *, mesh, vectorize, capacity):
            noted.append((len(inputs), capacity, vectorize))
            if capacity > most_rows or vectorize > most_together:
                raise error
            return real(run, inputs, data, mesh=mesh, vectorize=vectorize, capacity=capacity)

        monkeypatch.setattr(workloads, "sweep", sweep)
        return noted

    return limit


@pytest.mark.parametrize("error", MESSAGES, ids=["accelerator", "CPU", "Python"])
def test_fewer_rows_give_the_same_bits(mesh, attempts, error):
    whole = jax.tree.map(np.asarray, workloads.sweep(run, ROWS, FACTOR, mesh=mesh))
    noted = attempts(20, error=error)
    sweep = Sweep(mesh)
    pieces = sweep(run, ROWS, FACTOR, capacity=64)
    jax.tree.map(np.testing.assert_array_equal, pieces, whole)
    np.testing.assert_array_equal(pieces["score"], 2 * ROWS * FACTOR)
    assert noted == [(50, 64, 1), (32, 32, 1), (16, 16, 1), (16, 16, 1), (16, 16, 1), (2, 16, 1)]


def test_what_fits_is_remembered_for_that_program_alone(mesh, attempts):
    noted = attempts(20)
    sweep = Sweep(mesh)
    sweep(run, ROWS[:16], FACTOR, capacity=32)
    noted.clear()
    sweep(run, ROWS[:16], FACTOR, capacity=32)
    assert noted == [(16, 16, 1)]
    sweep(lambda row, factor: row, ROWS[:10], FACTOR, capacity=20)
    assert noted[1:] == [(10, 20, 1)]


def test_the_width_gives_way_last_and_a_resumed_study_begins_there(tmp_path, mesh, attempts):
    noted = attempts(64, most_together=3)
    output = io.StringIO()
    with Journal(tmp_path / "journal.sqlite") as journal:
        result = Sweep(mesh, journal, console=Console(file=output))(run, ROWS[:16], FACTOR, vectorize=8)
        np.testing.assert_array_equal(result["score"], 2 * ROWS[:16] * FACTOR)
        assert journal.events(NARROWED) == [{"from": 8, "to": 4}, {"from": 4, "to": 2}]
    assert [(capacity, width) for _, capacity, width in noted] == [(16, 8), (16, 4), (8, 4), (8, 2), (8, 2)]
    assert "2 runs side by side on a device, not 4" in " ".join(output.getvalue().split())
    noted.clear()
    with Journal(tmp_path / "journal.sqlite") as journal:
        Sweep(mesh, journal)(run, ROWS[:16], FACTOR, vectorize=8)
        Sweep(mesh, journal)(run, ROWS[:16], FACTOR, vectorize=1)
    assert [width for *_, width in noted] == [2, 1]


def test_where_nothing_is_smaller_the_study_ends_with_a_message(mesh, attempts):
    noted = attempts(0)
    with pytest.raises(StudyError, match="a single run on each device"):
        Sweep(mesh)(run, ROWS[:8], FACTOR, vectorize=2)
    assert noted[-1][1:] == (DEVICES, 1)


def test_another_failure_passes_through(mesh, attempts):
    attempts(0, error=jax.errors.JaxRuntimeError("INVALID_ARGUMENT: shapes do not match"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="INVALID_ARGUMENT"):
        Sweep(mesh)(run, ROWS[:8], FACTOR)


def totals(row, factor):
    """The stages of a run that adds up its rates."""

    def advance(total, start, until):
        return jax.lax.fori_loop(start, until, lambda t, total: total + factor * row[t], total)

    return workloads.Stages(lambda: jnp.zeros(()), advance, lambda total: total)


def test_branches_leave_the_run_that_is_longest_in_their_trunk(mesh, monkeypatch):
    """In pieces too, of which each trains its trunks once."""
    real, trained = workloads.trunk_states, []

    def trunk_states(stages, trunks, starts, data, *, capacity, **options):
        if capacity > 4:
            raise MESSAGES[0]
        trained.append({*trunks[:, -1].tolist()})
        return real(stages, trunks, starts, data, capacity=capacity, **options)

    monkeypatch.setattr(workloads, "trunk_states", trunk_states)
    names, starts, untils = "baabab", [1, 3, 2, 4, 3, 0], [5, 4, 6, 6, 3, 2]
    levels = {"a": 10.0, "b": 20.0}
    rates = np.array([[row] * 6 for row in range(6)], np.float32)
    for row, (name, start) in enumerate(zip(names, starts, strict=True)):
        rates[row, :start] = levels[name]
    departures = [Departure(*departure) for departure in zip(names, starts, untils, strict=True)]
    found = Sweep(mesh).branched(totals, rates, np.float32(2), departures, capacity=8)
    np.testing.assert_array_equal(
        found, [2 * np.sum(row[:until]) for row, until in zip(rates, untils, strict=True)]
    )
    assert trained == [{1, 3}, {4, 5}]
