"""Randomness by name: every key derives from one root by saying what it is for."""

import zlib

import jax
from jaxtyping import PRNGKeyArray


def named_key(root: PRNGKeyArray, *names: str | int) -> PRNGKeyArray:
    """The key that `root` holds for the purpose called `names`; the same names give the same key, always."""
    for name in names:
        root = jax.random.fold_in(root, name if isinstance(name, int) else zlib.crc32(name.encode()))
    return root
