"""A sweep over the devices of two processes, against one process with as many."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax

from workloads import load, run_keys, run_mesh, sweep, train

PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
import numpy as np
import test_processes
assert (jax.device_count(), jax.local_device_count()) == (4, 2)
np.save(sys.argv[3], test_processes.final_losses())
"""
ROWS, STEPS = 13, 20


def final_losses(mesh=None):
    workload = load("linear_regression", dimension=8)

    def run(row, data):
        keys = run_keys(row["key"])
        return train(workload, data, optax.sgd, row["rates"], keys, batch_size=4).metrics["train_loss"][-1]

    inputs = {
        "rates": np.linspace(0.1, 1, ROWS, dtype=np.float32)[:, None] * np.ones(STEPS, np.float32),
        "key": jax.random.split(jax.random.key(0), ROWS),
    }
    return np.asarray(sweep(run, inputs, workload.data, mesh=mesh))


def test_two_processes_both_get_the_results_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    files = [tmp_path / "0.npy", tmp_path / "1.npy"]
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
    expected = final_losses(run_mesh(4))
    assert len(set(expected.tolist())) == ROWS
    for file in files:
        np.testing.assert_array_equal(np.load(file), expected)
