"""Two processes of one JAX runtime, with two CPU devices each, running the same program."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.study.running.processes import free_address

PATIENCE = 600  # seconds after which a process has hung: far more than any takes on a busy machine
START = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
assert (jax.device_count(), jax.local_device_count()) == (4, 2)
"""


def run_two_processes(program: str, module: str, arguments: Sequence[str]) -> None:
    """Run the program in both; it finds the test module at `module` by its name, and `sys.argv[3]` is its
    own one of `arguments`. Fails with what they print where one of them fails."""
    address = free_address()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START + program, address, str(number), argument],
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(module).parent), *sys.path))},
            stderr=subprocess.PIPE,
        )
        for number, argument in enumerate(arguments)
    ]
    errors = [process.communicate(timeout=PATIENCE)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
