"""Digests of trees, which journals and checkpoints keep: they must stay what they are."""

import hashlib

import numpy as np
import pytest

from workloads.digest import tree_digest


@pytest.mark.parametrize("facts", [b"", b"after 3 steps"])
def test_it_is_of_the_facts_then_of_every_leaf(facts):
    tree = {"b": np.float32([[1.5, -2.0]]), "a": [np.int32(7)]}
    content = facts
    content += b"(\"['a'][0]\", '<i4', ())" + b"\x07\x00\x00\x00"
    content += b"(\"['b']\", '<f4', (1, 2))" + b"\x00\x00\xc0\x3f\x00\x00\x00\xc0"
    assert tree_digest(tree, facts) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("other", [{"a": np.zeros(2, int)}, {"b": np.zeros(2)}, {"a": np.zeros((1, 2))}])
def test_dtypes_names_and_shapes_are_told_apart(other):
    assert tree_digest(other) != tree_digest({"a": np.zeros(2)})
