"""The study of adaptive batch sizes: its runs against plain loops, and what its options may not be."""

import functools
import zlib
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
import workloads
from experiments.adaptive_batch_size.config import STRATEGIES, Config, Contestant
from experiments.adaptive_batch_size.runs import along_examples, control_probe, training

SMALL, LARGE, SAMPLES = 8, 32, 1536
CONFIG = Config(small_batch=SMALL, large_batch=48, parts=2, samples=384, curve_points=4, measure_every=3)


pytestmark = pytest.mark.xdist_group("adaptive_batch_size")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("adaptive_batch_size").folder


@functools.cache
def workload():
    return workloads.load("linear_regression", dimension=64)


def linear_with_warmup(samples, num_samples):
    """The learning rate's fraction of the peak by examples seen, with a warm-up of 0.15."""
    x = np.asarray(samples) / num_samples
    return np.minimum(x / 0.15, (1 - x) / 0.85)


def plain_loss(key, drawn, batches, rates):
    """The loss after signum on batches of those rows of `drawn` examples, at those learning rates."""
    table, lasts = jnp.asarray(rates, jnp.float32), np.isin(np.arange(drawn[1]), [b[-1] for b in batches])
    transformation = optim.signum(lambda count: table[count])

    def step(params, state, total, count):
        updates, state = transformation.update(total / count, state, params)
        return optax.apply_updates(params, updates), state, jnp.zeros_like(total), 0

    @jax.jit
    def train(root):
        def of_part(run, part):
            (params, state, total, count), (rows, last) = run, part
            gradient = jax.grad(workload().loss)(params, workload().batch(root, rows), None)
            run = params, state, total + gradient, count + 1
            return jax.lax.cond(last, step, lambda *run: run, *run), None

        init, data, *_ = jax.random.split(key, 4)
        params, indices = workload().init(init), workload().indices(data, *drawn)
        start = params, transformation.init(params), jnp.zeros_like(params), 0
        return workload().evaluate(jax.lax.scan(of_part, start, (indices, lasts))[0][0], root)["train_loss"]

    return float(train(workload().data))


def run_key(stage, replicate):
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), zlib.crc32(stage.encode())), replicate)


@pytest.fixture(scope="module")
def grown():
    """A run whose batch grows: its loss, and what its controller says before every micro-batch."""
    row = {"learning_rate": jnp.float32(0.05), "decay": jnp.float32(0), "key": run_key("growing", 0)}
    contestant = Contestant("signum", "matched")

    @jax.jit
    def train(row, data):
        stages = training(contestant, CONFIG, workload(), row, data, probe=control_probe)
        return stages.whole(CONFIG.num_microbatches)

    run = train(row, workload().data)
    return float(run.metrics["train_loss"][0]), run.probes


def test_a_growing_run_is_a_plain_loop_over_its_batches_and_uses_every_example_once(grown):
    loss, probes = grown
    # a new batch begins where the number of updates has risen
    begins = [0, *(np.flatnonzero(np.diff(probes["updates"])) + 1), CONFIG.num_microbatches]
    batches = [range(begin, end) for begin, end in pairwise(begins)]
    sizes = [SMALL * len(batch) for batch in batches]
    wanted = [int(probes["batch_size"][batch[0]]) for batch in batches]
    assert sum(sizes) == CONFIG.samples
    assert sizes[:-1] == wanted[:-1]
    assert SMALL == sizes[0] < max(sizes)
    assert sizes[-1] < wanted[-1]  # the last one is what is left, and the loop needs it too
    recorded = along_examples(probes, np.array([0, 7, CONFIG.num_microbatches]))
    assert recorded["updates"].tolist() == [0, 7, len(batches)]
    factors = [float(probes["rate_factor"][batch[0]]) for batch in batches]
    np.testing.assert_allclose(factors, np.sqrt(np.array(wanted) / SMALL), rtol=1e-5)
    rates = 0.05 * linear_with_warmup(SMALL * np.array(begins[:-1]), CONFIG.samples) * factors
    drawn = SMALL, CONFIG.num_microbatches
    assert loss == pytest.approx(plain_loss(run_key("growing", 0), drawn, batches, rates), rel=1e-5)


def test_the_journal_counts_the_updates_of_every_batch_the_last_one_too(folder, journal_rows):
    rows = {i: row["metrics"] for i, row in journal_rows(folder).items() if i[0] == "confirm"}
    assert len(rows) == len(STRATEGIES) * 4
    points = (0, 512, 1024, SAMPLES)
    for (_, name, *_), metrics in rows.items():
        counts = [metrics[f"updates@{samples}"] for samples in points]
        if name.endswith("small"):
            assert counts == [0, 64, 128, 192]
        elif name.endswith("large"):
            assert counts == [0, 16, 32, 48]
        else:
            sizes = [metrics[f"batch_size@{samples}"] for samples in points]
            assert sizes == sorted(sizes)
            assert SMALL == sizes[0] < sizes[-1] <= LARGE
            # measured after every second update, the batch first grew after four of the small ones
            assert counts[0] == 0
            assert 4 + (SAMPLES - 32) / LARGE <= counts[-1] == metrics["updates"] < 192


@pytest.mark.parametrize(("strategy", "batch_size"), [("small", SMALL), ("large", LARGE)])
def test_a_constant_batch_is_a_plain_loop_at_the_rate_of_its_first_example(
    folder, journal_rows, strategy, batch_size
):
    rows = journal_rows(folder)
    screened = [row for i, row in rows.items() if i[:2] == ("screen", f"signum, {strategy}")]
    assert len(screened) == 4 * 2
    fastest = max(screened, key=lambda row: row["base_lr"])
    begins = np.arange(0, SAMPLES, batch_size)
    rates = fastest["base_lr"] * linear_with_warmup(begins, SAMPLES)
    batches = [[k] for k in range(len(begins))]
    expected = plain_loss(run_key("screen", 0), (batch_size, len(begins)), batches, rates)
    assert fastest["score"] == pytest.approx(expected, rel=1e-5)
