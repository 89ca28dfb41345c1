"""Whether a workload is one: what its functions return, found without computing or compiling anything."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from workloads.workload import Workload


def contract_problems(workload: Workload, batch_size: int) -> list[str]:
    """What keeps a workload from being trained with batches of that size; a line each, by function."""
    key = jax.eval_shape(jax.random.key, 0)
    try:
        params = _shapes("init", workload.init, key)
        rows = _shapes("indices", lambda key: workload.indices(key, batch_size, 1), key)
        if getattr(rows, "shape", None) != (1, batch_size) or not jnp.issubdtype(rows.dtype, jnp.integer):
            return [f"indices must be whole numbers of shape (1, {batch_size}), got {_text(rows)}."]
        row = jax.ShapeDtypeStruct((batch_size,), rows.dtype)
        batch = _shapes("batch", workload.batch, workload.data, row)
        loss = _shapes("loss", workload.loss, params, batch, key)
        metrics = _shapes("evaluate", workload.evaluate, params, workload.data)
    except ValueError as error:
        return [str(error)]
    if not isinstance(metrics, Mapping) or not metrics or not all(isinstance(name, str) for name in metrics):
        return [f"evaluate must return scalars by name, got {metrics}."]
    named = {"loss": loss, **{f"the metric {name!r}": value for name, value in metrics.items()}}
    return list(_scalar_problems(named))


def _shapes(name: str, function: Callable, *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:
        raise ValueError(f"{name}: {type(error).__name__}: {error}") from error


def _scalar_problems(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
            yield f"{name} must be a real scalar, got {_text(value)}."


def _text(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return str(value) if shape is None else f"{value.dtype} of shape {shape}"
