"""Runs that share their beginning: trunks are trained once, and every branch goes on from a trunk's state."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
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


def trunk_states(
    stages: Callable[[PyTree, PyTree], Stages],
    trunks: PyTree,
    starts: Iterable[int],
    data: PyTree,
    *,
    begun: SweepState | None = None,
    capacity: int,
    mesh: Mesh | None = None,
    vectorize: int = 1,
) -> Iterator[SweepState]:
    """The states of trunks after these numbers of steps, one after the other, as `LongSweep.saved` has them:
    NumPy arrays, which a checkpoint holds.

    Args:
      stages, data, mesh, vectorize: see `long_sweep`.
      trunks: the rows, each trained once, up to the last of `starts`.
      starts: numbers of steps.
      begun: a state that was saved before, from which the trunks go on; from their first step when None.
      capacity: rows that the program has room for, those of the branches too.

    Raises ValueError where `begun` is beyond a start or has other shapes; and as `long_sweep` does.
    """
    trunk = long_sweep(stages, trunks, data, mesh=mesh, vectorize=vectorize, capacity=capacity)
    state = trunk.begin() if begun is None else trunk.restored(begun)
    for start in sorted({*starts}):
        state = trunk.advance(state, start)
        yield trunk.saved(state)


def branch_sweep(
    stages: Callable[[PyTree, PyTree], Stages],
    states: Iterable[SweepState],
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
      stages, data, mesh, vectorize, capacity: as for `trunk_states`.
      states: those of the trunks at the start of every branching, as `trunk_states` has them or as they were
        saved; one at a time is used.
      inputs: a row a branch.
      branchings: of each branch.

    Returns the results as NumPy arrays, stacked in the order of the branches.

    Raises ValueError where branchings and rows of inputs are not as many, a branch ends before it starts, no
    state is that of its start, or its trunk is none of the rows there; and as `long_sweep` does.

    >>> import jax.numpy as jnp
    >>> from workloads import Branching, branch_sweep, trunk_states
    >>> def stages(row, data):  # adds up its rates
    ...     def advance(total, start, until):
    ...         return jax.lax.fori_loop(start, until, lambda t, total: total + row[t], total)
    ...     return Stages(lambda: jnp.zeros(()), advance, lambda total: total)
    >>> trunk, branches = np.ones((1, 6)), np.ones((2, 6))
    >>> branches[:, 3:] = 0.5
    >>> ends = [Branching(0, start=3, until=4), Branching(0, start=3, until=6)]
    >>> states = trunk_states(stages, trunk, [3], None, capacity=2)
    >>> branch_sweep(stages, states, branches, ends, None, capacity=2).tolist()
    [3.5, 4.5]
    """
    _check(branchings, inputs)
    options = {"mesh": mesh, "vectorize": vectorize, "capacity": capacity}
    roots, starts, ends = np.array(branchings, int).T
    order, parts = [], []
    for saved in states:
        leaving = starts == saved.step
        _check_roots(roots[leaving], saved)
        for until in np.unique(ends[leaving]).tolist():
            rows = np.flatnonzero(leaving & (ends == until))
            branch = long_sweep(stages, _at(rows, inputs), data, **options)
            begun = branch.restored(SweepState(saved.step, _at(roots[rows], saved.runs)))
            parts.append(branch.finish(branch.advance(begun, until)))
            order.append(rows)
    reached = np.concatenate(order) if order else np.array([], int)
    if len(reached) != len(starts):
        missing = sorted({*np.delete(starts, reached).tolist()})
        raise ValueError(f"states must be those after {missing} steps too, where branches start")
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return _at(np.argsort(reached), joined)  # of NumPy arrays: jit would compile each length


def _at(rows: Int[np.ndarray, "rows"], tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def _check(branchings: Sequence[Branching], inputs: PyTree) -> None:
    rows = len(jax.tree.leaves(inputs)[0])
    if len(branchings) != rows:
        raise ValueError(f"branchings must be one for each of {rows} rows of inputs, got {len(branchings)}")
    for row, branching in enumerate(branchings):
        if not 0 <= branching.start <= branching.until:
            raise ValueError(f"branchings must have 0 <= start <= until, got {branching} in row {row}")


def _check_roots(roots: Int[np.ndarray, "branches"], saved: SweepState) -> None:
    trunks = len(jax.tree.leaves(saved.runs)[0])
    if not np.all((roots >= 0) & (roots < trunks)):
        raise ValueError(f"branchings must have a trunk below {trunks}, got {roots.tolist()}")
