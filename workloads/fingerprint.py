"""What tells a workload from another: its data, and its loss and metrics at one initialisation."""

from typing import Any

import jax
from jaxtyping import PyTree

from workloads.digest import tree_digest
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
        "data": tree_digest(workload.data),
        "loss": float(loss),
        "metrics": {name: float(value) for name, value in metrics.items()},
    }
