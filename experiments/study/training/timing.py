"""How long calls take, all in turn, so that none has the machine's better moments."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import jax

NameT = TypeVar("NameT", bound=Hashable)


def in_turn(calls: Mapping[NameT, Callable[[], object]], repeats: int) -> dict[NameT, list[float]]:
    """The seconds of each call, `repeats` times round all of them."""
    seconds: dict[NameT, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begun = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append(time.perf_counter() - begun)
    return seconds
