"""Steps of low-rank descent on one matrix, compiled once for all tests, and NumPy's factors."""

import functools

import jax
import numpy as np
import optax

from optim import scale_by_dion

RIGHTS = ("normalize", "qr", "polar")
EXACT = 1e-12  # float64 through a few steps of well-conditioned products
MOMENTUM = 0.9


def signed_q(a):
    q, r = np.linalg.qr(a)
    return q * np.sign(np.diag(r))


def polar_factor(a, rank=None):
    u, _, vt = np.linalg.svd(a, full_matrices=False)
    return u[:, :rank] @ vt[:rank]


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@functools.cache
def dion_of(right, rank=3):
    """One compiled transformation for all tests that agree on these."""
    tx = scale_by_dion(MOMENTUM, right=right, rank=rank)
    return optax.GradientTransformation(init_of(rank), jax.jit(tx.update))


@functools.cache
def init_of(rank):
    return jax.jit(scale_by_dion(MOMENTUM, rank=rank).init)


def one_matrix(tx, gradients, state=None):
    """(update, state) after each gradient of a single matrix."""
    steps = []
    state = tx.init({"w": gradients[0]}) if state is None else state
    for gradient in gradients:
        updates, state = tx.update({"w": gradient}, state)
        steps.append((np.asarray(updates["w"]), state))
    return steps
