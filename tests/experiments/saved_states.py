"""States that are saved as checkpoints, and what is found of them."""

import jax
import numpy as np

from experiments.study.storage.checkpoints import Checkpoints


def state_at(step):
    values = np.random.default_rng(step).normal(size=(40, 30)).astype(np.float32)
    return {"weights": values, "words": values.view(np.uint32)[:, :2], "step": np.asarray(step)}


def shapes_of(saved):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)


def bits(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype), np.asarray(leaf).tobytes()), tree)


def newest_step(checkpoints, identity="chunk"):
    """The step of the newest sound checkpoint, which must hold what was saved then, and the problems."""
    found, problems = checkpoints.newest(identity, shapes_of(state_at(0)))
    if found is None:
        return None, problems
    assert bits(found.saved) == bits(state_at(found.step))
    return found.step, problems


def saved_at(folder, *steps):
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(step, "chunk", state_at(step))
    return checkpoints
