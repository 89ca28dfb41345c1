"""What tells a workload from another: its data, and its loss and metrics at one initialisation."""

import hashlib
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from workloads.workload import Workload


def fingerprint(workload: Workload) -> dict[str, Any]:
    """JSON values by name: a digest of the data's every bit, and numbers that are equal but for rounding.

    The loss is that of one example.

    >>> from workloads import load
    >>> sorted(fingerprint(load("linear_regression", dimension=4)))
    ['data', 'loss', 'metrics']
    """

    @jax.jit
    def initial(data: PyTree):
        key = jax.random.key(0)
        params = workload.init(key)
        batch = workload.batch(data, workload.indices(key, 1, 1)[0])
        return workload.loss(params, batch, key), workload.evaluate(params, data)

    loss, metrics = initial(workload.data)
    return {
        "data": _digest(workload.data),
        "loss": float(loss),
        "metrics": {name: float(value) for name, value in metrics.items()},
    }


def _digest(tree: PyTree) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        values = np.asarray(leaf)
        digest.update(repr((jax.tree_util.keystr(path), values.dtype.str, values.shape)).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
