"""What the study of local steps counts: contestants, bytes, gradients, time, and what gets to ddp's loss."""

import dataclasses

import jax
import numpy as np
import pytest

import workloads
from experiments.local_steps.config import PRESETS, Config, Contestant
from experiments.local_steps.findings import claims, verdict
from experiments.local_steps.outcome import Outcome
from experiments.local_steps.runs import Results, drift, sent_numbers
from experiments.local_steps.traffic import Traffic, traffic
from experiments.study.training.tuning import Setting, Tuned

MILLION = {"params": 1_000_000}
CONFIG = Config(workers=(8,), num_steps=320, gradient_seconds=0.01, latency_seconds=1e-4)


def traffic_of(method, **setting):
    return traffic(Contestant(method, 8, "even", **setting), CONFIG, MILLION)


@pytest.mark.parametrize(
    ("method", "setting", "sent"),
    [
        ("ddp", {}, 7_000_000),
        ("lion", {}, 7_000_000),
        ("lion_cub", {}, 1_750_000),
        ("vote", {}, 1_750_000),
        ("diloco", {"every": 32}, 218_750),
        ("palsgd", {"every": 32, "mix_probability": 0.2, "mix": 0.5}, 273_437.5),
    ],
)
def test_bytes_of_a_gradient_are_those_of_a_ring(method, setting, sent):
    """Of a million numbers and eight workers, 2·7/8 of them a message; palsgd's gradients are fewer."""
    found = traffic_of(method, **setting)
    assert found.bytes(320) / found.gradients(320) == pytest.approx(sent)


def test_post_local_sgd_averages_gradients_first():
    found = traffic_of("post_local_sgd", every=16)
    assert [found.synchronisations(steps) for steps in (40, 80, 320)] == [40, 80, 80 + 240 / 16]
    assert found.gradients(320) == 320


def test_one_worker_stands_for_those_that_average_every_gradient():
    lonely = traffic(Contestant("snoo", 1, "even", 8), CONFIG, MILLION)
    assert lonely.bytes(320) == traffic_of("ddp").bytes(320)


def test_time_is_of_gradients_hops_and_bytes():
    """7 MB at 1 Gbit/s are 56 ms and 14 hops 1.4 ms, beside a gradient's 10 ms."""
    assert traffic_of("ddp").seconds(100, 1.0, CONFIG) == pytest.approx(100 * 0.0674)
    assert traffic_of("diloco", every=10).seconds(100, 1.0, CONFIG) == pytest.approx(100 * 0.01 + 10 * 0.0574)
    mixing = traffic_of("palsgd", every=10, mix_probability=0.5, mix=0.5)
    assert mixing.seconds(100, 1.0, CONFIG) == pytest.approx(50 * 0.01 + 10 * 0.0574)


def test_low_rank_methods_send_thin_factors_and_the_rest_whole():
    """The MLP's 64×128 at rank 16, a quarter; the head and the biases are averaged as they are."""
    config = dataclasses.replace(CONFIG, methods=("dion",))
    found = sent_numbers(config, workloads.load("digits"))
    rest = 128 * 10 + 10 + 128
    assert found == {"params": 64 * 128 + rest, "dion": (64 + 128) * 16 + rest}


def test_every_method_has_its_settings_once():
    config = Config(workers=(4, 8), intervals=(1, 8), mixes=(0.5, 1.0))
    titles = [c.title for c in config.contestants if (c.workers, c.shards) == (8, "skewed")]
    assert titles == [
        "ddp",
        "local_sgd H=1",
        "local_sgd H=8",
        "post_local_sgd H=8",
        "diloco H=1",
        "diloco H=8",
        "palsgd H=8 p=0.2 η=0.5",
        "palsgd H=8 p=0.2 η=1",
        "lion",
        "vote",
        "lion_cub",
        "dion",
        "orth_dion",
    ]
    assert [c.name for c in config.contestants if c.method == "snoo"] == [
        "snoo H=1 K=1 even",
        "snoo H=8 K=1 even",
    ]
    assert all(config.start(c) == 256 for c in config.contestants if not c.rules.spaced)
    assert {c.method for c in PRESETS["transformer"].contestants} == set(PRESETS["transformer"].methods)


def outcome(contestant, curves, reference=None):
    curves = np.array(curves, float)
    tuned = Tuned(Setting(0, 0.1), True, {}, curves[:, -1])
    numbers = {"params": 1000}
    return Outcome(contestant, tuned, traffic(contestant, CONFIG, numbers), curves, 0.0, reference)


def test_the_cost_of_the_reference_s_loss_is_a_share_of_its_whole_run():
    """ddp ends at 1 after 320 steps; what is there after 160 steps with H = 8 sent a 16th of its bytes."""
    config = dataclasses.replace(CONFIG, curve_points=4)
    ddp = outcome(Contestant("ddp", 8, "even"), [[4, 3, 2, 1]] * 7)
    local = outcome(Contestant("local_sgd", 8, "even", 8), [[3, 1, 1, 0.5]] * 6 + [[9, 9, 9, 9]], ddp)
    assert local.share(lambda traffic, steps: steps, config).value == pytest.approx(0.5)
    assert local.share(Traffic.bytes, config).value == pytest.approx(0.5 / 8)
    assert local.share(Traffic.bytes, config).high == np.inf  # one run of seven does not get there
    assert ddp.share(Traffic.bytes, config).value == pytest.approx(1)
    assert local.change(config).value == pytest.approx(-0.5)
    assert ddp.change(config) is None


def test_claims_are_judged_by_the_best_that_mixes_and_by_its_own_interval():
    """PALSGD gets to ddp's loss in half its steps with four fifths of the gradients, to DiLoCo's in 2.5 of
    its four quarters; Lion Cub ends at what Lion ends at."""
    config = dataclasses.replace(CONFIG, curve_points=4, gigabits=(1e9,), latency_seconds=0.0)
    setting = {"workers": 8, "shards": "even"}
    ends = {
        Contestant("ddp", **setting): [4, 3, 2, 1],
        Contestant("diloco", **setting, every=8): [4, 2, 1, 0.9],
        Contestant("palsgd", 8, "even", 8, 0.2, 0.5): [2, 1, 0.8, 0.8],
        Contestant("palsgd", 8, "even", 8, 0.2, 1.0): [4, 4, 4, 4],
        Contestant("lion", **setting): [4, 4, 4, 4],
        Contestant("lion_cub", **setting): [4, 4, 4, 4],
    }
    ddp = outcome(Contestant("ddp", **setting), [ends[Contestant("ddp", **setting)]] * 7)
    outcomes = {c: outcome(c, [curve] * 7, None if c.method == "ddp" else ddp) for c, curve in ends.items()}
    time, synchronisations, loss = claims(Results(config, outcomes, None))
    assert (time.effect.value, time.held) == (pytest.approx(0.5 * 0.8), True)
    assert (synchronisations.effect.value, synchronisations.held) == (pytest.approx(2.5 / 4), True)
    assert (loss.effect.value, loss.held) == (0, True)
    assert time.subject == "palsgd H=8 p=0.2 η=0.5 K=8 even, 1e+09 Gbit/s"


def test_a_loss_that_no_method_reaches_is_said():
    """Of two runs of ddp alone, one ends above what is between them."""
    config = dataclasses.replace(CONFIG, curve_points=4)
    contestant = Contestant("ddp", 8, "even")
    results = Results(config, {contestant: outcome(contestant, [[4, 3, 2, 1], [4, 3, 3, 3]])}, None)
    assert (
        verdict(results) == "With 8 workers, even shards, no method gets to ddp's loss in most of its runs."
    )
    assert claims(results) == []


def test_drift_is_the_distance_of_workers_from_their_mean():
    """(3, 4) ± (3, 4): all are as far away as the mean is long."""
    stack = {"a": jax.numpy.array([[6.0], [0.0]]), "b": jax.numpy.array([[8.0], [0.0]])}
    assert drift(stack) == pytest.approx(1)
    assert drift(jax.tree.map(lambda leaf: leaf[:1], stack)) == 0
