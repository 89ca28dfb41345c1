"""The study of cooldowns: its runs against a plain loop, its choices, and the steps that branches take."""

import functools
import json
import zlib

import jax
import numpy as np
import pytest

import workloads
from experiments.cooldown import Config
from experiments.cooldown.endings import horizon_steps, search_steps
from tests.experiments.journals import runs_of

DIMENSION, HORIZONS, WARMUP, BATCH = 8, (5, 10, 20), 1, 4
FORMS = {
    "linear": lambda u: 1 - u,
    "1-sqrt": lambda u: 1 - np.sqrt(u),
    "cosine": lambda u: (1 + np.cos(np.pi * u)) / 2,
}

pytestmark = pytest.mark.xdist_group("cooldown")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("cooldown").folder


def multipliers(name, horizon, form=None, length=None, **averaged):
    """Of a run, by the formulas."""
    rates = np.minimum(np.arange(horizon) / WARMUP, 1)
    cooled = {"cooldown": [horizon], "WSD-S": HORIZONS}.get(name, [])
    for end in cooled:
        steps = end - WARMUP if length == 1 else int(length * end + 1e-9)
        rates[end - steps : end] = FORMS[form](np.arange(steps) / steps)
    return rates


@jax.jit
def drawn(numbers):
    """The initial weights of a run and its batches, from the key that these numbers name."""
    workload = workloads.load("linear_regression", dimension=DIMENSION)
    key = functools.reduce(jax.random.fold_in, numbers, jax.random.key(0))
    init, order, _, _ = jax.random.split(key, 4)
    return workload.init(init), workload.indices(order, BATCH, HORIZONS[-1])


def plain_losses(run):
    """The loss after every update of a row of the journal, by a plain loop."""
    label = run["label"]
    rates = run["base_lr"] * multipliers(run["group"], **label)
    horizon = [label["horizon"]] if run["stage"] in ("whole", "scratch") else []
    start, batches = drawn(np.uint32([zlib.crc32(run["stage"].encode()), *horizon, run["replicate"]]))
    root = np.asarray(workloads.load("linear_regression", dimension=DIMENSION).data, np.float64)
    weights = np.asarray(start, np.float64)
    beta, decay, path, losses = label.get("beta", 0.0), label.get("average_decay", 0.0), [], []
    average = weights
    for rate, rows in zip(rates, np.asarray(batches), strict=False):
        point = (1 - beta) * weights + beta * average
        weights = weights - rate * DIMENSION * root[rows].T @ (root[rows] @ point) / BATCH
        path.append(weights)
        if "beta" in label:  # schedule-free: steps weigh as the squares of the highest rates so far
            shares = np.maximum.accumulate(rates[: len(path)]) ** 2
        else:
            shares = decay ** np.arange(len(path))[::-1]
        average = shares @ np.array(path) / np.sum(shares) if np.any(shares) else average
        losses.append(np.mean((root @ average) ** 2) / 2)
    return np.array(losses)


@pytest.mark.parametrize("stage", ["screen", "whole", "confirm", "scratch"])
def test_runs_are_plain_loops_over_their_schedules(folder, stage):
    runs = [run for run in runs_of(folder) if run["stage"] == stage]
    assert len(runs) >= 15
    free = [run for run in runs if run["group"] == "schedule-free"]
    assert bool(free) == (stage in ("screen", "confirm"))
    for run in (*runs[::7], *free[:2]):
        losses, until = plain_losses(run), run["label"]["horizon"]
        assert run["score"] == pytest.approx(losses[-1], rel=1e-4)
        for horizon in HORIZONS:
            measured = run["metrics"][f"train_loss@{horizon}"]
            if horizon > until:
                assert measured is None
            elif stage != "whole":
                assert measured == pytest.approx(losses[horizon - 1], rel=1e-4)


def test_the_best_cooldown_is_that_of_the_screening(folder):
    content = json.loads((folder / "winners.json").read_text())
    scores = {}
    for run in runs_of(folder):
        label = run["label"]
        if run["stage"] == "screen" and run["group"] == "cooldown" and label["length"] < 1:
            kind = label["horizon"], label["form"], label["length"], run["base_lr"]
            scores.setdefault(kind, []).append(run["score"])
    medians = {kind: np.median(values) for kind, values in scores.items()}
    for row in content["horizons"]:
        chosen = tuple(row[name] for name in ("horizon", "form", "length", "learning_rate"))
        assert medians[chosen] == min(medians[kind] for kind in medians if kind[0] == row["horizon"])


def test_branches_share_their_trunk_and_runs_from_scratch_nothing(folder):
    """The loss after five steps, where all longer runs of a seed and a rate are still in the trunk."""

    def losses_along(stage):
        runs = [run for run in runs_of(folder) if (run["stage"], run["replicate"]) == (stage, 0)]
        cooled = [run for run in runs if run["label"].get("length") in (0.2, 0.4)]
        longer = [run for run in cooled if run["label"]["horizon"] > 5 and run["group"] == "cooldown"]
        return [run["metrics"]["train_loss@5"] for run in longer], {run["number"] for run in longer}

    branches, rates = losses_along("confirm")
    assert len(set(branches)) == len(rates) < len(branches)
    whole, _ = losses_along("scratch")
    assert len(set(whole)) == len(whole) == 2


def test_steps_are_those_of_the_oracles():
    """4,700 in place of 7,500, and for one form in lengths up to 40 % less than 45 % of whole runs'."""
    config = Config(horizons=(500, 1000, 2000, 4000), warmup=100, forms=("1-sqrt",), searched=(1000,))
    assert horizon_steps(0.2, config) == (4700, 7500)
    # a trunk of 95 %, and cooldowns of 5, 10, 20 and 40 %, in place of four whole runs
    assert search_steps(1000, config).share == (0.95 + 0.75) / 4
