"""Branches of a trunk against the same runs from scratch, on one device and on several."""

import functools
import itertools
import pickle

import jax
import numpy as np
import optax
import pytest

from schedules import Cooldown, Trunk, branches
from workloads import Branching, branch_sweep, load, long_sweep, run_keys, run_mesh, trainer, trunk_states

HORIZONS = [8, 12, 20, 30]
REGRESSION = load("linear_regression", dimension=6, exponent=0.5)
KEYS = jax.random.split(jax.random.key(3), 2)
SEEDS = [0, 0, 0, 0, 1, 1, 1, 1]  # of the branches


@functools.cache
def shared():
    """Not made where another test alone is collected."""
    return branches(Trunk(warmup=3), HORIZONS, Cooldown(0.25, "1-sqrt"))


def stages(row, data):
    keys = run_keys(row["key"])
    return trainer(REGRESSION, data, optax.adam, row["rates"], keys, batch_size=2, average_decay=0.5)


def table(multipliers):
    return np.pad(0.1 * np.asarray(multipliers), (0, HORIZONS[-1] - len(multipliers)), constant_values=np.nan)


def trunk_rows():
    return {"rates": np.stack([table(shared().trunk)] * 2), "key": KEYS}


def branch_rows():
    tables = [table(shared().from_scratch(branch)) for branch in shared().branches]
    return {"rates": np.stack(tables * 2), "key": KEYS[np.array(SEEDS)]}


def states(**options):
    starts = [branch.start for branch in shared().branches]
    return trunk_states(stages, trunk_rows(), starts, REGRESSION.data, **options)


def branchings():
    ends = [(branch.start, branch.horizon) for branch in shared().branches]
    return [Branching(seed, *end) for seed, end in zip(SEEDS, ends * 2, strict=True)]


@pytest.mark.bits
@pytest.mark.parametrize(("devices", "vectorize"), [(1, 3), (2, 1), (8, 3)])
def test_a_branch_is_the_run_from_scratch_bit_for_bit(devices, vectorize):
    options = {"mesh": run_mesh(devices), "vectorize": vectorize, "capacity": 32}
    found = branch_sweep(stages, states(**options), branch_rows(), branchings(), REGRESSION.data, **options)
    for row, branching in enumerate(branchings()):
        inputs = jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], branch_rows())
        scratch = long_sweep(stages, inputs, REGRESSION.data, **options).whole(branching.until)
        jax.tree.map(lambda leaf, expected, row=row: np.testing.assert_array_equal(leaf[row], expected[0]),
                     found, scratch)  # fmt: skip


@jax.jit
def plain_step(params, state, rows, draws, step, rate):
    optimizer = optax.inject_hyperparams(optax.adam)(0.0)
    state.hyperparams["learning_rate"] = rate
    batch = REGRESSION.batch(REGRESSION.data, rows[step])
    gradient = jax.grad(REGRESSION.loss)(params, batch, draws[step])
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state


@jax.jit
def plain_start(key):
    keys = run_keys(key)
    params = REGRESSION.init(keys.init)
    state = optax.inject_hyperparams(optax.adam)(0.0).init(params)
    rows = REGRESSION.indices(keys.data, 2, HORIZONS[-1])
    return params, state, rows, jax.random.split(keys.loss, HORIZONS[-1])


def test_branches_are_a_plain_loop_over_their_tables():
    options = {"mesh": run_mesh(2), "capacity": 8}
    found = branch_sweep(stages, states(**options), branch_rows(), branchings(), REGRESSION.data, **options)
    assert len(set(found.metrics["train_loss"][:, -1].tolist())) == 8
    for row, (seed, branch) in enumerate(zip(SEEDS, [*shared().branches] * 2, strict=True)):
        params, state, indices, draws = plain_start(KEYS[seed])
        for step, rate in enumerate(0.1 * np.float32(shared().from_scratch(branch))):
            params, state = plain_step(params, state, indices, draws, step, rate)
        jax.tree.map(
            lambda leaf, expected, row=row: np.testing.assert_allclose(
                leaf[row], expected, rtol=1e-4, atol=1e-5
            ),
            found.params,
            params,
        )


def test_branches_of_a_trunk_that_was_saved_and_gone_on_with_are_those_of_one_that_was_not():
    """A session ends after the second state; the next has its bytes, and goes on from there."""
    options = {"mesh": run_mesh(2), "capacity": 8}
    whole = list(states(**options))
    kept = pickle.dumps(list(itertools.islice(states(**options), 2)))
    first = pickle.loads(kept)
    rest = states(begun=first[-1], **options)
    with pytest.raises(ValueError, match="until must be at least 9, the steps done, got 6"):
        next(rest)
    later = trunk_states(stages, trunk_rows(), [15, 23], REGRESSION.data, begun=first[-1], **options)
    gone_on = [*first, *later]
    jax.tree.map(np.testing.assert_array_equal, gone_on, whole)
    arguments = branch_rows(), branchings(), REGRESSION.data
    jax.tree.map(
        np.testing.assert_array_equal,
        branch_sweep(stages, gone_on, *arguments, **options),
        branch_sweep(stages, whole, *arguments, **options),
    )


@pytest.mark.parametrize(
    ("branchings", "words"),
    [
        ([Branching(0, 1, 2)], "one for each of 2 rows of inputs, got 1"),
        ([Branching(0, 1, 2), Branching(2, 1, 2)], r"a trunk below 2, got \[0, 2\]"),
        ([Branching(0, 3, 2), Branching(0, 1, 2)], "0 <= start <= until, got .*start=3, until=2. in row 0"),
        ([Branching(0, 1, 2), Branching(0, 2, 2)], r"states must be those after \[2\] steps too"),
    ],
)
def test_branchings_that_make_no_sense_are_refused(branchings, words):
    rows = trunk_rows()
    trunks = trunk_states(stages, rows, [1], REGRESSION.data, capacity=2)
    with pytest.raises(ValueError, match=words):
        branch_sweep(stages, trunks, rows, branchings, REGRESSION.data, capacity=2)
