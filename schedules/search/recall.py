"""What a search decided, made once: a resumed search reads it, and asks only for what is not there.

Scores are compared, and comparing is exact everywhere. What strategies and models compute has other last bits
on another processor, and would lead a search elsewhere than its runs went.
"""

from collections.abc import Callable
from typing import Any

# (name, make) → the JSON value that was made under this name; `make()` where there is none yet
Once = Callable[[str, Callable[[], Any]], Any]


def anew(name: str, make: Callable[[], Any]) -> Any:
    """`Once` of a search that remembers nothing."""
    return make()
