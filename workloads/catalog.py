"""The workloads by name."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from workloads.images import cifar10, digits, fashion_mnist, mnist
from workloads.linear_regression import linear_regression
from workloads.text import shakespeare, wikitext103
from workloads.workload import Workload

WORKLOADS: Mapping[str, Callable[..., Workload]] = MappingProxyType(
    {
        "linear_regression": linear_regression,
        "digits": digits,
        "mnist": mnist,
        "fashion_mnist": fashion_mnist,
        "cifar10": cifar10,
        "shakespeare": shakespeare,
        "wikitext103": wikitext103,
    }
)


def load(name: str, **options: Any) -> Workload:
    """The workload called `name`, with its options (see the functions in `WORKLOADS`).

    >>> load("linear_regression", dimension=8).data.shape
    (8, 8)

    Raises:
      ValueError: there is no such workload, or it has no such option, or the option no such value.
    """
    if name not in WORKLOADS:
        raise ValueError(f"workload must be one of {list(WORKLOADS)}, got {name!r}")
    allowed = list(inspect.signature(WORKLOADS[name]).parameters)
    for option in options:
        if option not in allowed:
            raise ValueError(f"{name}: option must be one of {allowed}, got {option!r}")
    return WORKLOADS[name](**options)
