"""Tensors as matrices against explicit NumPy indexing and slicing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry import MatrixView
from geometry.matrices import in_equal_batches, leaf_path, tree_shapes

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

    @jax.jit
    def split_and_joined(x):
        stacks = view.split(x)
        return stacks, view.join(stacks, shape)

    stacks, joined = split_and_joined(x)
    expected = np.split(numpy_stack(view, x), np.cumsum(view.blocks)[:-1], axis=-1) if view.blocks else None
    for stack, block in zip(stacks, expected or [numpy_stack(view, x)], strict=True):
        np.testing.assert_array_equal(stack, block)
    assert tuple(stack.shape for stack in stacks) == view.matrix_shapes(shape)
    np.testing.assert_array_equal(joined, x)


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
