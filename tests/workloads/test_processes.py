"""A sweep over the devices of two processes, against one process with as many."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax

from workloads import load, long_sweep, run_keys, run_mesh, sweep, train, trainer

PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
import numpy as np
import test_processes
assert (jax.device_count(), jax.local_device_count()) == (4, 2)
np.savez(sys.argv[3], **test_processes.computed())
"""
ROWS, STEPS = 13, 20


REGRESSION = load("linear_regression", dimension=8)


def at_once(row, data):
    return train(REGRESSION, data, optax.adam, row["rates"], run_keys(row["key"]), batch_size=4)


def in_stages(row, data):
    return trainer(REGRESSION, data, optax.adam, row["rates"], run_keys(row["key"]), batch_size=4)


def computed(mesh=None):
    """The final losses of a sweep at once and of one that was saved and restored, and what was saved."""
    inputs = {
        "rates": np.linspace(0.01, 0.1, ROWS, dtype=np.float32)[:, None] * np.ones(STEPS, np.float32),
        "key": jax.random.split(jax.random.key(0), ROWS),
    }
    whole = sweep(at_once, inputs, REGRESSION.data, mesh=mesh)
    swept = long_sweep(in_stages, inputs, REGRESSION.data, mesh=mesh)
    saved = swept.saved(swept.advance(swept.begin(), 7))
    resumed = swept.finish(swept.advance(swept.restored(saved), STEPS))
    return {
        "at_once": np.asarray(whole.metrics["train_loss"])[:, -1],
        "in_segments": np.asarray(resumed.metrics["train_loss"])[:, -1],
        "saved": saved.runs.params,
    }


def test_two_processes_both_get_the_results_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    files = [tmp_path / "0.npz", tmp_path / "1.npz"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address, str(number), str(file)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            stderr=subprocess.PIPE,
        )
        for number, file in enumerate(files)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    expected = computed(run_mesh(4))
    assert len(set(expected["in_segments"].tolist())) == ROWS
    for file in files:
        with np.load(file) as found:
            assert set(found) == set(expected)
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values)
