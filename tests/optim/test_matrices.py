"""Tensors as matrices against explicit NumPy indexing and slicing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from optim import MatrixView, Routing, by_name, muon, scale_by_polar
from optim.matrices import in_equal_batches, leaf_path, tree_shapes

DERANDOMIZED = settings(deadline=None, derandomize=True, database=None, max_examples=20)


@st.composite
def shapes_and_views(draw):
    """A tensor's two to four axes and a view of them in any order, at times with blocks."""
    axes = draw(st.permutations(range(draw(st.integers(2, 4)))))
    shape = tuple(draw(st.integers(1, 3)) for _ in axes)
    first = draw(st.integers(0, len(axes) - 2))
    second = draw(st.integers(first + 1, len(axes) - 1))
    batch, rows, columns = (tuple(part) for part in (axes[:first], axes[first:second], axes[second:]))
    count = int(np.prod([shape[axis] for axis in columns]))
    cuts = sorted(draw(st.sets(st.integers(1, count - 1), max_size=2))) if count > 1 else []
    return shape, (rows, columns, batch, tuple(np.diff([0, *cuts, count]).tolist()) if cuts else ())


def numpy_stack(view, x):
    """The matrices, filled entry by entry: axes named first vary slowest."""

    def place(axes, index):
        return int(np.ravel_multi_index([index[a] for a in axes], [x.shape[a] for a in axes])) if axes else 0

    sizes = [int(np.prod([x.shape[a] for a in axes])) for axes in (view.batch, view.rows, view.columns)]
    stack = np.full(sizes, np.nan, x.dtype)
    for index in np.ndindex(x.shape):
        stack[tuple(place(axes, index) for axes in (view.batch, view.rows, view.columns))] = x[index]
    return stack


@DERANDOMIZED
@given(shapes_and_views())
def test_split_places_every_entry_and_join_puts_it_back(shape_and_view):
    shape, view = shape_and_view[0], MatrixView(*shape_and_view[1])
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    view.check("leaf", shape)
    stacks = view.split(jnp.asarray(x))
    expected = np.split(numpy_stack(view, x), np.cumsum(view.blocks)[:-1], axis=-1) if view.blocks else None
    for stack, block in zip(stacks, expected or [numpy_stack(view, x)], strict=True):
        np.testing.assert_array_equal(stack, block)
    assert tuple(stack.shape for stack in stacks) == view.matrix_shapes(shape)
    np.testing.assert_array_equal(view.join(stacks, shape), x)


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
    together = run(muon(0.1, routing=fused, **options), fuse(parts), [fuse(g) for g in gradients])[-1]
    apart = fuse(run(muon(0.1, **options), parts, gradients)[-1])
    # float32: three steps of singular vectors at condition numbers below 100
    np.testing.assert_allclose(together["qkv"]["kernel"], apart["qkv"]["kernel"], rtol=0, atol=3e-5)


def test_a_leaf_has_the_same_path_in_linen_and_nnx(linen_transformer, nnx_transformer):
    assert tree_shapes(nnx.state(nnx_transformer, nnx.Param)) == tree_shapes(linen_transformer)


def test_paths_join_names_and_places_and_keep_what_is_called_value():
    tree = {"value": {"kernel": 0, "value": 0}, "list": [0, (0, 0)], "a/b": 0}
    paths = {leaf_path(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}
    assert paths == {"value/kernel", "value/value", "list/0", "list/1/0", "list/1/1", "a/b"}
    assert list(tree_shapes({"value": jnp.ones(2)})) == ["value"]


def test_equal_matrices_go_in_one_call_and_come_back_in_order():
    rng = np.random.default_rng(0)
    shapes = [(1, 2, 3), (2, 3, 3), (3, 2, 3), (1, 2, 3), (2, 3, 2)]
    stacks = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    stacks[3] = stacks[3].astype(np.float16)  # another dtype is another call
    weights = [rng.normal(size=(len(stack), 2)).astype(stack.dtype) for stack in stacks]
    calls = []

    def function(stack, weight):
        calls.append(stack.shape)
        return 2 * stack, jnp.einsum("mrc,mw->mrw", stack, weight)

    columns = ([jnp.asarray(array) for array in arrays] for arrays in (stacks, weights))
    doubled, mixed = in_equal_batches(function, *columns)
    assert sorted(calls) == [(1, 2, 3), (2, 3, 2), (2, 3, 3), (4, 2, 3)]
    for stack, weight, double, mix in zip(stacks, weights, doubled, mixed, strict=True):
        assert double.dtype == stack.dtype
        np.testing.assert_array_equal(double, 2 * stack)
        expected = np.sum(stack, axis=2, dtype=np.float64)[..., None] * weight[:, None]
        # sums of three normal numbers, times another
        np.testing.assert_allclose(np.float64(mix), expected, rtol=0, atol=20 * np.finfo(stack.dtype).eps)


def test_joined_matrices_have_the_polar_factors_they_have_alone():
    rng = np.random.default_rng(1)
    shapes = {"a": (3, 5), "b": (5, 3), "c": (4, 4), "d": (5, 3)}
    tree = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    tx = scale_by_polar("svd")
    updates, _ = tx.update(tree, tx.init(tree))
    for name, leaf in tree.items():
        u, _, vt = np.linalg.svd(np.asarray(leaf, np.float64), full_matrices=False)
        np.testing.assert_allclose(updates[name], u @ vt, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("view", "shape", "message"),
    [
        (MatrixView((0,), (1,)), (2, 3, 4), "must name every axis of the shape .2, 3, 4. once"),
        (MatrixView((0,), (2,)), (2, 3), "must name every axis"),
        (MatrixView((0, 1), (1,)), (2, 3), "must name every axis"),
        (MatrixView((0, 1), ()), (2, 3), "at least one axis of rows and one of columns"),
        (MatrixView((), (1,), batch=(0,)), (2, 3), "at least one axis of rows and one of columns"),
        (MatrixView((0,), (1,), blocks=(1, 1)), (2, 3), r"add up to the 3 columns, got \(1, 1\)"),
        (MatrixView((0,), (1,), blocks=(4, -1)), (2, 3), "add up to the 3 columns"),
    ],
)
def test_a_view_that_does_not_fit_names_the_leaf_and_what_is_wrong(view, shape, message):
    with pytest.raises(ValueError, match=f"^block_0/kernel: .*{message}"):
        view.check("block_0/kernel", shape)
