"""When a run is evaluated, and what its metrics are called in the journal."""


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
