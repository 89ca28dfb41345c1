"""Runs that share their beginning: trunks are trained once, and every branch goes on from a trunk's state."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int, PyTree

from workloads.long_sweep import SweepState, long_sweep
from workloads.run import Stages


class Branching(NamedTuple):
    """Where a run leaves its trunk, and where it ends.

    Attributes:
      trunk: the row of the trunk.
      start: after how many steps it leaves.
      until: how many steps it has in all.
    """

    trunk: int
    start: int
    until: int


def branch_sweep(
    stages: Callable[[PyTree, PyTree], Stages],
    trunks: PyTree,
    inputs: PyTree,
    branchings: Sequence[Branching],
    data: PyTree,
    *,
    capacity: int,
    mesh: Mesh | None = None,
    vectorize: int = 1,
) -> PyTree:
    """The results of runs that share the steps before their branching with a trunk.

    Trunks and branches are rows of one compiled program, with inputs of the same shapes: tables of learning
    rates are as long as the longest run, and what a table has from `until` on is not read. A branch is the
    run from scratch, bit for bit, where its inputs are those of its trunk up to its start:
    `long_sweep(stages, inputs, data, capacity=capacity, …).whole(until)` of its row.

    Args:
      stages, data, mesh, vectorize: see `long_sweep`.
      trunks: the rows that are trained once, up to the last start of a branching.
      inputs: a row a branch.
      branchings: of each branch.
      capacity: rows that the program has room for.

    Returns the results, stacked in the order of the branches.

    Raises ValueError where branchings and rows of inputs are not as many, a trunk is none of the rows, or a
    branch ends before it starts; and as `long_sweep` does.

    >>> from workloads import Branching, branch_sweep
    >>> def stages(row, data):  # adds up its rates
    ...     def advance(total, start, until):
    ...         return jax.lax.fori_loop(start, until, lambda t, total: total + row[t], total)
    ...     return Stages(lambda: jnp.zeros(()), advance, lambda total: total)
    >>> trunk, branches = np.ones((1, 6)), np.ones((2, 6))
    >>> branches[:, 3:] = 0.5
    >>> ends = [Branching(0, start=3, until=4), Branching(0, start=3, until=6)]
    >>> branch_sweep(stages, trunk, branches, ends, None, capacity=2).tolist()
    [3.5, 4.5]
    """
    _check(branchings, trunks, inputs)
    options = {"mesh": mesh, "vectorize": vectorize, "capacity": capacity}
    trunk = long_sweep(stages, trunks, data, **options)
    roots, starts, ends = np.array(branchings, int).T
    state, order, parts = trunk.begin(), [], []
    for start in np.unique(starts).tolist():
        state = trunk.advance(state, start)
        saved = trunk.saved(state)
        for until in np.unique(ends[starts == start]).tolist():
            rows = np.flatnonzero((starts == start) & (ends == until))
            branch = long_sweep(stages, _at(rows, inputs), data, **options)
            begun = branch.restored(SweepState(saved.step, _at(roots[rows], saved.runs)))
            parts.append(branch.finish(branch.advance(begun, until)))
            order.append(rows)
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return _at(np.argsort(np.concatenate(order)), joined)


def _at(rows: Int[np.ndarray, "rows"], tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def _check(branchings: Sequence[Branching], trunks: PyTree, inputs: PyTree) -> None:
    rows, roots = (len(jax.tree.leaves(tree)[0]) for tree in (inputs, trunks))
    if len(branchings) != rows:
        raise ValueError(f"branchings must be one for each of {rows} rows of inputs, got {len(branchings)}")
    for row, branching in enumerate(branchings):
        if not 0 <= branching.trunk < roots or not 0 <= branching.start <= branching.until:
            raise ValueError(
                f"branchings must have a trunk below {roots} and 0 <= start <= until,"
                f" got {branching} in row {row}"
            )
