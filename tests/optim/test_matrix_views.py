"""Which matrices the rules by name see, and what becomes of them in an update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from geometry.matrices import tree_shapes
from optim import Routing, by_name, muon, scale_by_polar


def by_names(path, shape, **options):
    return Routing(lambda p, s: by_name(p, s, **options)).view(path, shape)


def test_a_convolution_kernel_has_a_row_for_each_tap_of_each_input():
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    (stack,) = by_names("conv/kernel", x.shape).split(jnp.asarray(x))
    rows = [x[height, width, channel] for height in range(2) for width in range(3) for channel in range(4)]
    np.testing.assert_array_equal(stack, [rows])


def test_attention_kernels_are_one_matrix_or_one_for_each_head():
    rng = np.random.default_rng(0)
    reads, writes = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 2, 3), (2, 3, 5)))
    for layer in ("query", "key", "value"):
        (flattened,) = by_names(f"{layer}/kernel", reads.shape).split(jnp.asarray(reads))
        np.testing.assert_array_equal(flattened, [np.concatenate([reads[:, 0], reads[:, 1]], axis=1)])
        (heads,) = by_names(f"{layer}/kernel", reads.shape, heads="separate").split(jnp.asarray(reads))
        np.testing.assert_array_equal(heads, [reads[:, 0], reads[:, 1]])
    (flattened,) = by_names("out/kernel", writes.shape).split(jnp.asarray(writes))
    np.testing.assert_array_equal(flattened, [np.concatenate([writes[0], writes[1]], axis=0)])
    (heads,) = by_names("out/kernel", writes.shape, heads="separate").split(jnp.asarray(writes))
    np.testing.assert_array_equal(heads, [writes[0], writes[1]])


@pytest.mark.parametrize("scale", ["width", "rms"])
def test_a_fused_kernel_moves_as_its_parts_kept_apart(scale, run, draw):
    sizes = {"query": 9, "key": 4, "value": 2}
    parts, gradients = draw({name: {"kernel": (4, size)} for name, size in sizes.items()}, 3)

    def fuse(tree):
        return {"qkv": {"kernel": np.concatenate([tree[name]["kernel"] for name in sizes], axis=1)}}

    fused = Routing(lambda path, shape: by_name(path, shape, fused={"qkv": (9, 4, 2)}))
    options = {"scale": scale, "polar": "svd", "weight_decay": 0.1}
    joined = run(muon(0.1, routing=fused, **options), fuse(parts), [fuse(g) for g in gradients])[-1]
    separate = fuse(run(muon(0.1, **options), parts, gradients)[-1])
    # float32: three steps of singular vectors at condition numbers below 100
    np.testing.assert_allclose(joined["qkv"]["kernel"], separate["qkv"]["kernel"], rtol=0, atol=3e-5)


def test_a_leaf_has_the_same_path_in_linen_and_nnx(linen_transformer, nnx_transformer):
    assert tree_shapes(nnx.state(nnx_transformer, nnx.Param)) == tree_shapes(linen_transformer)


def test_joined_matrices_have_the_polar_factors_they_have_alone():
    rng = np.random.default_rng(1)
    shapes = {"a": (3, 5), "b": (5, 3), "c": (4, 4), "d": (5, 3)}
    tree = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tx = scale_by_polar("svd")
    updates, _ = jax.jit(tx.update)(tree, tx.init(tree))
    for name, leaf in tree.items():
        u, _, vt = np.linalg.svd(np.float64(leaf), full_matrices=False)
        np.testing.assert_allclose(updates[name], u @ vt, rtol=0, atol=2e-5)
