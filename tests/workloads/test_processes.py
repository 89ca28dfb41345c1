"""A sweep over the devices of two processes, against one process with as many."""

import jax
import numpy as np
import optax
import pytest

from tests.two_processes import run_two_processes
from workloads import load, long_sweep, run_keys, run_mesh, trainer

PROGRAM = """
import numpy as np
import test_processes
np.savez(sys.argv[3], **test_processes.computed())
"""
ROWS, STEPS = 13, 20


REGRESSION = load("linear_regression", dimension=8)


def in_stages(row, data):
    return trainer(REGRESSION, data, optax.adam, row["rates"], run_keys(row["key"]), batch_size=4)


def computed(mesh=None):
    """The final losses of a sweep that was saved and restored, and what was saved."""
    inputs = {
        "rates": np.linspace(0.01, 0.1, ROWS, dtype=np.float32)[:, None] * np.ones(STEPS, np.float32),
        "key": jax.random.split(jax.random.key(0), ROWS),
    }
    swept = long_sweep(in_stages, inputs, REGRESSION.data, mesh=mesh)
    saved = swept.saved(swept.advance(swept.begin(), 7))
    resumed = swept.finish(swept.advance(swept.restored(saved), STEPS))
    return {
        "losses": np.asarray(resumed.metrics["train_loss"])[:, -1],
        "saved": saved.runs.params,
    }


@pytest.mark.bits
def test_two_processes_both_get_the_results_of_one(tmp_path):
    files = [tmp_path / "0.npz", tmp_path / "1.npz"]
    run_two_processes(PROGRAM, __file__, [str(file) for file in files])
    expected = computed(run_mesh(4))
    assert len(set(expected["losses"].tolist())) == ROWS
    for file in files:
        with np.load(file) as found:
            assert set(found) == set(expected)
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values)
