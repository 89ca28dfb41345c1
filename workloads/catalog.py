"""The workloads by name."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, get_args

from workloads.images import cifar10, digits, fashion_mnist, mnist
from workloads.linear_regression import linear_regression
from workloads.modular_addition import modular_addition
from workloads.text import shakespeare, wikitext103
from workloads.workload import Workload

WORKLOADS: Mapping[str, Callable[..., Workload]] = MappingProxyType(
    {
        "linear_regression": linear_regression,
        "modular_addition": modular_addition,
        "digits": digits,
        "mnist": mnist,
        "fashion_mnist": fashion_mnist,
        "cifar10": cifar10,
        "shakespeare": shakespeare,
        "wikitext103": wikitext103,
    }
)

KINDS = {int: "a whole number", float: "a number", str: "text"}  # of options


def load(name: str, **options: Any) -> Workload:
    """The workload called `name`, with its options (see the functions in `WORKLOADS`).

    >>> load("linear_regression", dimension=8).data.shape
    (8, 8)

    Raises:
      ValueError: there is no such workload, or it has no such option, or the option no such value.
    """
    if name not in WORKLOADS:
        raise ValueError(f"workload must be one of {list(WORKLOADS)}, got {name!r}")
    parameters = inspect.signature(WORKLOADS[name]).parameters
    for option, value in options.items():
        if option not in parameters:
            raise ValueError(f"{name}: option must be one of {list(parameters)}, got {option!r}")
        _check_kind(f"{name}: {option}", value, parameters[option].annotation)
    return WORKLOADS[name](**options)


def _check_kind(option: str, value: Any, annotation: Any) -> None:
    """Raise ValueError where the value is not of the option's type, or None for one that may be left out."""
    kind, *others = get_args(annotation) or (annotation,)
    if not isinstance(value, (kind, *others, *((int,) if kind is float else ()))):
        raise ValueError(f"{option} must be {KINDS[kind]}, got {value!r}")
