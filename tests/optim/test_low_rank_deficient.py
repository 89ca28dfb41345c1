"""Low-rank spectral descent where gradients lack rank, at sizes where XLA's maximum drops NaNs on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from optim import scale_by_dion

RIGHTS = ("normalize", "qr", "polar")


def deficient(matrices, rows, columns, rank, dtype):
    """A stack of matrices of that rank of integers that bfloat16 holds; all ones, one row, one column too."""
    rng = np.random.default_rng(rank)
    stack = rng.integers(-1, 2, (matrices, rows, rank)) @ rng.integers(-1, 2, (matrices, rank, columns))
    if rank == 1:
        stack[0], stack[1:3] = 1, 0
        stack[1:2, 3], stack[2:3, :, 5] = 1, 1
    return {"layers": {"kernel": jnp.asarray(stack, dtype)}}


def one_step(tx, gradients):
    return tx.update(gradients, tx.init(gradients))[0]


def many(transformed):
    """With an axis of one mapped away."""

    def step(tx, gradients):
        stacked = jax.tree.map(lambda g: g[None], gradients)
        return jax.tree.map(lambda u: u[0], transformed(lambda g: one_step(tx, g))(stacked))

    return step


def scanned(step):
    return lambda stacked: jax.lax.scan(lambda carry, g: (carry, step(g)), 0, stacked)[1]


def sharded(step):
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("x")
    by_device = lambda stacked: jax.tree.map(lambda u: u[None], step(jax.tree.map(lambda g: g[0], stacked)))  # noqa: E731
    return jax.jit(jax.shard_map(by_device, mesh=mesh, in_specs=spec, out_specs=spec))


FORMS = {
    "eager": one_step,
    "vmap": many(lambda step: jax.jit(jax.vmap(step))),
    "scan": many(scanned),
    "shard_map": many(sharded),
}


@pytest.mark.parametrize("form", FORMS)
def test_in_every_form_a_step_has_the_rank_of_the_gradient(form):
    gradients = deficient(1, 64, 80, 3, jnp.float32)
    has_the_rank(gradients, FORMS[form](scale_by_dion(rank=64), gradients), 3)


@pytest.mark.parametrize(
    ("matrices", "rows", "columns", "r", "rank", "dtype"),
    [
        (1, 75, 90, 75, 74, jnp.float32),
        (1, 128, 130, 128, 3, jnp.bfloat16),
        (4, 70, 64, 32, 1, jnp.bfloat16),
        (24, 32, 48, 16, 1, jnp.float32),
    ],
)
def test_by_every_right_factor_a_step_has_the_rank_of_the_gradient(matrices, rows, columns, r, rank, dtype):
    gradients = deficient(matrices, rows, columns, rank, dtype)

    @jax.jit
    def steps(gradients):
        methods = {right: scale_by_dion(rank=r, right=right) for right in RIGHTS}
        state = methods["qr"].init(gradients)  # the same for all
        return {right: tx.update(gradients, state)[0] for right, tx in methods.items()}

    for right, updates in steps(gradients).items():
        has_the_rank(gradients, updates, rank, right)


def has_the_rank(gradients, updates, rank, right="normalize"):
    (gradients,), (updates,) = map(jax.tree.leaves, (gradients, updates))
    atol = 1e-3 if gradients.dtype == jnp.float32 else 2**-7
    assert updates.dtype == gradients.dtype
    for gradient, direction in zip(*map(np.float64, (gradients, updates)), strict=True):
        u, _, vt = np.linalg.svd(gradient, full_matrices=False)
        left_vectors, right_vectors = u[:, :rank], vt[:rank]
        projection = left_vectors @ (left_vectors.T @ direction)
        np.testing.assert_allclose(projection, direction, atol=atol, err_msg=right)
        assert np.sum(direction**2) == pytest.approx(rank, rel=atol), right
        if right == "polar":  # U polar(MᵀU)ᵀ is the polar factor of M where U spans its columns
            np.testing.assert_allclose(direction, left_vectors @ right_vectors, atol=atol)
