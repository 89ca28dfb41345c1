"""The rank of a low-rank method: a count, or a fraction of each matrix's smaller side."""

import math
from collections.abc import Callable

import jax
from jax.typing import ArrayLike

from optim.options import is_real


def rank_rule(rank: ArrayLike | None, fraction: ArrayLike, multiple: ArrayLike) -> Callable[[int], int]:
    """smaller side → r: `rank`, or the fraction rounded up to a multiple, and never more than the side.

    >>> [rank_rule(None, 0.25, 8)(side) for side in (4, 16, 100)]
    [4, 8, 32]

    Raises ValueError when an option is traced or outside what it may be.
    """
    traced = [
        name
        for name, value in {"rank": rank, "rank_fraction": fraction, "rank_multiple": multiple}.items()
        if isinstance(value, jax.core.Tracer)
    ]
    if traced:
        raise ValueError(
            f"{traced[0]} decides shapes and cannot be traced; with optax.inject_hyperparams, name it in"
            " static_args"
        )
    for name, count in {"rank": 1 if rank is None else rank, "rank_multiple": multiple}.items():
        if not (is_real(count) and count >= 1 and count % 1 == 0):
            raise ValueError(f"{name} must be a count of at least 1, got {count}")
    if not (is_real(fraction) and 0 < fraction <= 1):
        raise ValueError(f"rank_fraction must be in (0, 1], got {fraction}")

    def rank_of(smaller_side):
        if rank is not None:
            return min(smaller_side, int(rank))
        wanted = round(float(fraction) * smaller_side, 3)  # no rank more for a fraction's rounding error
        return min(smaller_side, int(multiple) * math.ceil(wanted / int(multiple)))

    return rank_of
