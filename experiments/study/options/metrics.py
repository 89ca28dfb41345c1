"""When a run is evaluated, and what its metrics are called in the journal."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float


def evaluation_steps(num_steps: int, evaluations: int) -> list[int]:
    """After how many updates a run is evaluated: `evaluations` times at equal distances, last at its end.

    As often as it has steps where those are fewer.

    >>> evaluation_steps(100, 4)
    [25, 50, 75, 100]
    """
    return sorted({-(-num_steps * k // evaluations) for k in range(1, evaluations + 1)})


def best_metric(name: str) -> str:
    """What the lowest value of a metric over a run's evaluations is called."""
    return f"best_{name}"


def curve_metric(name: str, step: int) -> str:
    """What a metric after so many updates is called in the journal."""
    return f"{name}@{step}"


def curve_columns(
    curves: Mapping[str, Float[np.ndarray, "runs steps"]], steps: Sequence[int]
) -> dict[str, Float[np.ndarray, "runs"]]:
    """Metrics along runs, by what they are called.

    >>> curve_columns({"loss": np.array([[3.0, 1.0]])}, (10, 20))
    {'loss@10': array([3.]), 'loss@20': array([1.])}
    """
    return {
        curve_metric(name, step): column
        for name, values in curves.items()
        for step, column in zip(steps, values.T, strict=True)
    }


def recorded_curves(
    name: str, steps: Sequence[int], runs: Iterable[Mapping[str, float]]
) -> Float[np.ndarray, "runs steps"]:
    """One of them read back, of all metrics of each run."""
    return np.array([[metrics[curve_metric(name, step)] for step in steps] for metrics in runs])
