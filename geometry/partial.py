"""Functions with some arguments fixed that compare, hash and pickle as values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Partial:
    """x → function(*fixed, x); unlike `functools.partial`, equal to another one of equal parts."""

    function: Callable[..., Any]
    fixed: tuple[Any, ...]

    def __call__(self, x: Any) -> Any:
        return self.function(*self.fixed, x)
