"""A digest of a tree of arrays."""

import hashlib

import jax
import numpy as np
from jaxtyping import PyTree


def tree_digest(tree: PyTree, facts: bytes = b"") -> str:
    """The SHA-256 of the facts, then of each leaf's path, dtype, shape and every bit, in hexadecimal.

    >>> tree_digest({"a": np.zeros(2)}) == tree_digest({"a": np.zeros(2)}, b"at step 3")
    False
    """
    digest = hashlib.sha256(facts)
    for path, leaf in jax.tree.leaves_with_path(tree):
        values = np.asarray(leaf)
        digest.update(repr((jax.tree_util.keystr(path), values.dtype.str, values.shape)).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
