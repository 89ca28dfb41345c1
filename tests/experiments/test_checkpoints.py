"""Checkpoints: what is saved comes back bit for bit, whatever saved it and wherever."""

import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.study.options.errors import StudyError
from experiments.study.running.processes import free_address
from experiments.study.storage.checkpoints import Checkpoints
from tests.experiments.processes import started
from tests.experiments.saved_states import bits, newest_step, saved_at, shapes_of, state_at
from workloads import load, long_sweep, run_keys, run_mesh, trainer


class State(NamedTuple):
    params: dict
    optimizer: tuple
    nothing: None = None


def odd_state():
    """What arrays of a state may hold: bits that a conversion would lose, no elements, no dimensions."""
    nan = np.full((2, 3), 0x7FC12345, np.uint32).view(np.float32)
    return State(
        {"a.b/c['d']": np.full(7, -0.0), "half": np.linspace(-3, 3, 5).astype(jnp.bfloat16), "nan": nan},
        (np.zeros((0, 3), np.int8), np.asarray(-5, np.int32), optax.EmptyState(), np.array([True, False])),
    )


def test_a_state_comes_back_bit_for_bit(tmp_path):
    state = odd_state()
    Checkpoints(tmp_path / "new").save(3, "ärger", state)
    found, problems = Checkpoints(tmp_path / "new").newest("ärger", shapes_of(state))
    assert (found.step, problems) == (3, [])
    assert jax.tree.structure(found.saved) == jax.tree.structure(state)
    assert bits(found.saved) == bits(state)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found.saved))


def test_a_folder_may_be_named_from_where_the_process_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints = saved_at(Path("relative"), 10)
    monkeypatch.chdir("/")
    assert newest_step(checkpoints) == (10, [])


def test_the_newest_is_the_last_that_was_saved_and_one_before_is_kept(tmp_path):
    checkpoints = saved_at(tmp_path, 10, 30, 20)  # a later chunk begins anew
    assert newest_step(checkpoints) == (20, [])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["000002", "000003"]
    shutil.rmtree(tmp_path / "000003")
    assert newest_step(checkpoints) == (30, [])


def test_another_state_is_never_restored(tmp_path):
    checkpoints = saved_at(tmp_path, 1)
    state = state_at(1)
    assert newest_step(checkpoints, "another chunk") == (None, [])
    for other in (
        {**state, "weights": state["weights"].T},
        {**state, "weights": state["weights"].astype(np.float64)},
        {**state, "more": state["weights"]},
        {"weights": state["weights"]},
        tuple(state.values()),
    ):
        assert checkpoints.newest("chunk", shapes_of(other)) == (None, [])
    checkpoints.save(2, "another chunk", state)
    assert newest_step(checkpoints) == (1, [])


def test_cleared_checkpoints_are_gone(tmp_path):
    checkpoints = saved_at(tmp_path, 1, 2)
    checkpoints.clear()
    assert newest_step(checkpoints) == (None, [])
    assert list(tmp_path.iterdir()) == []
    Checkpoints(tmp_path / "absent").clear()
    assert newest_step(Checkpoints(tmp_path / "absent")) == (None, [])


STRAYS = {
    "a file of a number": lambda path: (path / "000099").write_text("mine"),
    "a file of the next number": lambda path: (path / "000002").write_text("mine"),
    "a link to a folder": lambda path: (path / "000002").symlink_to(path.parent),
    "a link to nothing": lambda path: (path / "000002").symlink_to(path / "nowhere"),
    "a folder of another number": lambda path: (path / "99").mkdir(),
    "a folder of other digits": lambda path: (path / "٩٩").mkdir(),
    "a file of no number": lambda path: (path / "notes").write_text("mine"),
}


@pytest.mark.parametrize("stray", STRAYS)
def test_what_is_no_checkpoint_hinders_none_and_is_left_alone(tmp_path, stray):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    STRAYS[stray](folder)
    entries = {(entry.name, entry.lstat().st_ino) for entry in folder.iterdir()}
    checkpoints = saved_at(folder, 10, 20, 30)
    assert newest_step(checkpoints) == (30, [])
    assert checkpoints.newest_identity() == "chunk"
    checkpoints.clear()
    assert {(entry.name, entry.lstat().st_ino) for entry in folder.iterdir()} == entries


def test_a_leftover_that_is_a_file_hinders_none(tmp_path):
    (tmp_path / ".000001.partial").write_text("half")
    assert newest_step(saved_at(tmp_path, 1)) == (1, [])


def test_a_study_s_folder_that_was_deleted_is_not_made_again(tmp_path):
    with pytest.raises(StudyError, match="cannot be written: No such file or directory"):
        saved_at(tmp_path / "study" / "checkpoints", 1)
    assert not (tmp_path / "study").exists()


OF_TWO = """
import sys
from pathlib import Path
import jax
from jax.experimental.multihost_utils import sync_global_devices
from tests.experiments import saved_states
folder = Path(sys.argv[1])
jax.distributed.initialize(sys.argv[2], num_processes=2, process_id=int(sys.argv[3]))
assert (jax.device_count(), jax.local_device_count()) == (4, 2)
if jax.process_index() == 0:
    saved_states.saved_at(folder, 1, 2, 3)
sync_global_devices("saved")
assert saved_states.newest_step(saved_states.Checkpoints(folder)) == (3, [])
"""


def test_of_two_processes_one_saves_alone_and_both_may_read(tmp_path):
    address = free_address()
    processes = [started(OF_TWO, tmp_path, address, number, devices=2) for number in range(2)]
    ended = [process.ended() for process in processes]
    assert [status for status, *_ in ended] == [0, 0], ended
    assert newest_step(Checkpoints(tmp_path)) == (3, [])


@pytest.mark.bits
def test_a_sweep_goes_on_from_a_checkpoint_on_other_devices_bit_for_bit(tmp_path):
    regression, num_steps = load("linear_regression", dimension=6), 10

    def stages(row, data):
        keys = run_keys(row["key"])
        return trainer(regression, data, optax.adam, row["rates"], keys, batch_size=2, average_decay=0.5)

    inputs = {
        "rates": np.linspace(0.01, 0.1, 5, dtype=np.float32)[:, None] * np.ones(num_steps, np.float32),
        "key": jax.random.split(jax.random.key(0), 5),
    }

    def swept(devices):
        return long_sweep(stages, inputs, regression.data, mesh=run_mesh(devices))

    first, second = swept(8), swept(2)
    whole = first.finish(first.advance(first.begin(), num_steps))
    state = first.advance(first.begin(), 6)
    Checkpoints(tmp_path).save(state.step, "five rows", first.saved(state))
    found, _ = Checkpoints(tmp_path).newest("five rows", second.saved_shapes())
    assert found.step == 6
    resumed = second.finish(second.advance(second.restored(found.saved), num_steps))
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
