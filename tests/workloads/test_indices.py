"""Which examples each step sees: fresh subsets and reshuffled epochs."""

import itertools
import math

import jax
import numpy as np
import pytest
from scipy import stats

import workloads
from workloads.workload import _shuffle

LEVEL = 0.01
subset_indices = jax.jit(workloads.subset_indices, static_argnums=(1, 2, 3))
epoch_indices = jax.jit(workloads.epoch_indices, static_argnums=(1, 2, 3))


def counts_of(rows, outcomes):
    """How often each outcome occurs; the chi-square tests need every row to be one of them."""
    index = {outcome: position for position, outcome in enumerate(outcomes)}
    return np.bincount([index[tuple(row)] for row in rows.tolist()], minlength=len(index))


@pytest.mark.parametrize(("num_examples", "batch_size"), [(5, 1), (50, 40), (200, 200), (1437, 64)])
def test_a_batch_has_distinct_examples_of_the_data(num_examples, batch_size):
    batches = np.asarray(subset_indices(jax.random.key(0), num_examples, batch_size, 30))
    assert batches.shape == (30, batch_size)
    assert batches.min() >= 0
    assert batches.max() < num_examples
    assert all(len(set(batch)) == batch_size for batch in batches.tolist())


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5])
def test_every_ordered_subset_is_equally_likely(batch_size):
    outcomes = list(itertools.permutations(range(5), batch_size))
    batches = np.asarray(subset_indices(jax.random.key(1), 5, batch_size, 200 * len(outcomes)))
    assert stats.chisquare(counts_of(batches, outcomes)).pvalue > LEVEL


@pytest.mark.parametrize(("num_examples", "batch_size"), [(5, 2), (6, 4)])
def test_every_subset_is_equally_likely(num_examples, batch_size):
    outcomes = list(itertools.combinations(range(num_examples), batch_size))
    batches = np.asarray(subset_indices(jax.random.key(2), num_examples, batch_size, 300 * len(outcomes)))
    assert stats.chisquare(counts_of(np.sort(batches, axis=1), outcomes)).pvalue > LEVEL


def test_consecutive_subsets_are_independent():
    outcomes = list(itertools.combinations(range(5), 2))
    batches = np.asarray(subset_indices(jax.random.key(3), 5, 2, 20_000))
    pairs = np.concatenate([np.sort(batches[0::2], axis=1), np.sort(batches[1::2], axis=1)], axis=1)
    table = counts_of(pairs, [a + b for a in outcomes for b in outcomes]).reshape(10, 10)
    assert stats.chi2_contingency(table).pvalue > LEVEL


def test_full_batches_are_permutations():
    batches = np.asarray(subset_indices(jax.random.key(4), 30, 30, 20))
    np.testing.assert_array_equal(np.sort(batches, axis=1), np.tile(np.arange(30), (20, 1)))
    assert len({tuple(batch) for batch in batches.tolist()}) == 20


@pytest.mark.parametrize(
    ("num_examples", "batch_size", "num_steps"), [(10, 3, 8), (12, 4, 9), (7, 7, 3), (5, 1, 5), (10, 6, 4)]
)
def test_an_epoch_visits_no_example_twice_and_skips_only_the_remainder(num_examples, batch_size, num_steps):
    batches = np.asarray(epoch_indices(jax.random.key(0), num_examples, batch_size, num_steps))
    assert batches.shape == (num_steps, batch_size)
    assert set(batches.ravel().tolist()) <= set(range(num_examples))
    per_epoch = num_examples // batch_size
    for start in range(0, num_steps, per_epoch):
        epoch = batches[start : start + per_epoch].ravel()
        assert len(set(epoch.tolist())) == epoch.size


def test_epochs_are_shuffled_anew():
    epochs = np.asarray(epoch_indices(jax.random.key(1), 20, 5, 4 * 50)).reshape(50, 20)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(20), (50, 1)))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 50


def test_every_order_of_an_epoch_is_equally_likely():
    orders = list(itertools.permutations(range(4)))
    epochs = np.asarray(epoch_indices(jax.random.key(2), 4, 2, 2 * 4800)).reshape(4800, 4)
    assert stats.chisquare(counts_of(epochs, orders)).pvalue > LEVEL


def test_the_skipped_example_differs_from_epoch_to_epoch_uniformly():
    epochs = np.asarray(epoch_indices(jax.random.key(3), 7, 3, 2 * 3500)).reshape(3500, 6)
    skipped = 21 - epochs.sum(axis=1)
    assert stats.chisquare(np.bincount(skipped, minlength=7)).pvalue > LEVEL


@pytest.mark.parametrize("indices", [subset_indices, epoch_indices])
def test_keys_decide_the_order(indices):
    first, second = (np.asarray(indices(jax.random.key(seed), 30, 10, 9)) for seed in (0, 1))
    # two independent subsets of 10 of 30 coincide with probability 1 / C(30, 10)
    assert math.comb(30, 10) > 1e7
    assert all(set(a) != set(b) for a, b in zip(first.tolist(), second.tolist(), strict=True))


@pytest.mark.parametrize("indices", [subset_indices, epoch_indices])
@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_impossible_batch_sizes_are_refused(indices, batch_size):
    with pytest.raises(ValueError, match=rf"batch_size must be in \[1, 10\].* got {batch_size}"):
        indices(jax.random.key(0), 10, batch_size, 3)


@pytest.mark.parametrize("num_examples", [1, 2, 1437, 4096, 4097, 65_537, 300_000])
def test_an_epoch_of_any_size_shows_every_example_once(num_examples):
    epoch = np.asarray(epoch_indices(jax.random.key(5), num_examples, num_examples, 1))
    np.testing.assert_array_equal(np.sort(epoch[0]), np.arange(num_examples))


def test_examples_with_equal_random_bits_are_ordered_by_a_fair_coin(monkeypatch):
    bits = jax.random.bits

    def only_the_mask_is_random(key, shape):
        return bits(key, shape).at[:-1].set(0)

    monkeypatch.setattr(jax.random, "bits", only_the_mask_is_random)
    epochs = np.asarray(workloads.epoch_indices(jax.random.key(7), 13, 13, 4000))
    place = np.argsort(epochs, axis=1)
    for first, second in itertools.combinations(range(13), 2):
        share = np.mean(place[:, first] < place[:, second])
        assert abs(share - 0.5) * 2 * np.sqrt(4000) < 3.8  # 78 z-tests, level 0.01 together


@pytest.mark.parametrize("num_examples", [4097, 50_000, 300_000])  # two rounds, two, three
def test_large_shuffles_are_rounds_of_stable_sorting(num_examples, monkeypatch):
    drawn, bits = [], jax.random.bits

    def remember(key, shape):
        drawn.append(bits(key, shape))
        return drawn[-1]

    monkeypatch.setattr(jax.random, "bits", remember)
    with jax.disable_jit():
        shuffled = np.asarray(_shuffle(jax.random.key(8), num_examples))
    *words, mask = np.asarray(drawn[0])
    index_bits = (num_examples - 1).bit_length()
    first, *others = np.reshape(words, (-1, num_examples)) % 2 ** (32 - index_bits)
    order = np.lexsort((np.arange(num_examples) ^ (mask % 2**index_bits), first))
    for round_words in others:
        order = order[np.argsort(round_words, kind="stable")]
    np.testing.assert_array_equal(shuffled, order)
    random_bits = len(words) // num_examples * (32 - index_bits)
    assert math.comb(num_examples, 2) / 2**random_bits <= 8  # pairs tied in every round, on average


def test_examples_of_a_large_set_come_at_any_time_and_in_any_order():
    epochs = np.asarray(epoch_indices(jax.random.key(9), 5000, 5000, 800))
    place = np.argsort(epochs, axis=1)[:, [0, 1, 2, 2500, 4999]]
    for example in range(5):
        counts = np.histogram(place[:, example], bins=10, range=(0, 5000))[0]
        assert stats.chisquare(counts).pvalue > LEVEL / 15
    for first, second in itertools.combinations(range(5), 2):
        earlier = np.sum(place[:, first] < place[:, second])
        assert stats.binomtest(int(earlier), 800).pvalue > LEVEL / 15
