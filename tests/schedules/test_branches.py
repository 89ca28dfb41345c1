"""Branches against schedules written out in NumPy, and against the risk they leave on a noisy quadratic."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schedules import FAMILIES, Cooldown, PowerLaw, Trunk, branches

EPS = np.finfo(np.float32).eps
CURVATURES = np.arange(1, 51) ** -1.2
RATE = 0.6
CONSTANT = Trunk()
HORIZONS = [500, 1000, 2000, 4000]


def risk(multipliers) -> float:
    """½Σ h·e after steps on 50 modes of curvature h from x = 1, gradient noise ½h: e ← (1-ηh)²e + ½η²h."""
    error = np.ones_like(CURVATURES)
    for rate in RATE * np.asarray(multipliers, np.float64):
        error = (1 - rate * CURVATURES) ** 2 * error + rate**2 * CURVATURES / 2
    return float(CURVATURES @ error / 2)


def whole(horizon, cooldown, trunk=CONSTANT):
    shared = branches(trunk, [horizon], cooldown)
    return shared.from_scratch(shared.branches[0])


def in_one_program(make):
    return jax.jit(make)()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("linear", (0.05992, 0.03059)),
        ("1-sqrt", (0.05073, 0.02351)),
        ("cosine", (0.06282, 0.02938)),
        ("square", (0.07405, 0.04044)),
        ("mirrored_cosine", (0.06434, 0.03631)),
        (lambda u: 0.1**u, (0.05540, 0.03415)),
    ],
)
def test_every_form_leaves_the_risk_that_a_prototype_had(form, expected):
    runs = in_one_program(lambda: [whole(horizon, Cooldown(0.2, form)) for horizon in (1000, 4000)])
    np.testing.assert_allclose(list(map(risk, runs)), expected, rtol=0, atol=6e-6)
    assert risk(np.ones(1000)) == pytest.approx(0.28981, abs=6e-6)


def test_a_longer_cooldown_leaves_less_as_a_prototype_had():
    lengths = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
    runs = in_one_program(lambda: [whole(2000, Cooldown(length, "linear")) for length in lengths])
    np.testing.assert_allclose(
        list(map(risk, runs)), [0.1133, 0.0807, 0.0599, 0.0431, 0.0306, 0.0216], rtol=0, atol=6e-5
    )


def test_a_cooldown_begins_at_the_trunks_level_and_ends_a_step_above_its_floor():
    linear, root, raised = map(
        np.asarray,
        in_one_program(
            lambda: (
                Cooldown(0.2).multipliers(40),
                Cooldown(0.2, "1-sqrt").multipliers(4000),
                Cooldown(5, "linear", floor=0.2).multipliers(5),
            )
        ),
    )
    np.testing.assert_allclose(linear, 1 - np.arange(40) / 40, rtol=0, atol=EPS)
    assert float(linear.sum()) == pytest.approx(41 / 2, rel=1e-6)
    assert float(root.mean()) == pytest.approx(1 / 3, abs=1 / 4000)
    np.testing.assert_allclose(raised, [1, 0.84, 0.68, 0.52, 0.36], rtol=0, atol=EPS)


def test_all_horizons_share_every_bit_of_the_trunk():
    shared = branches(Trunk(100, "cosine"), HORIZONS, Cooldown(0.2, "1-sqrt"))
    assert [branch.start for branch in shared.branches] == [400, 800, 1600, 3200]
    runs = [np.asarray(shared.from_scratch(branch)) for branch in shared.branches]
    assert [len(run) for run in runs] == HORIZONS
    for run, branch in zip(runs, shared.branches, strict=True):
        assert run[: branch.start].tobytes() == np.asarray(shared.trunk)[: branch.start].tobytes()
        rise = (1 - np.cos(np.pi * np.minimum(np.arange(branch.horizon) / 100, 1))) / 2
        done = np.clip((np.arange(branch.horizon) - branch.start) / (branch.horizon - branch.start), 0, 1)
        np.testing.assert_allclose(run, rise * (1 - np.sqrt(done)), rtol=0, atol=4 * EPS)


def test_branches_are_the_family_of_warmup_stable_decay():
    steps, warmup, length = 400, 40, 90
    run = in_one_program(lambda: whole(steps, Cooldown(length, "1-sqrt", floor=0.1), Trunk(warmup)))
    family = FAMILIES["wsd"].with_options(decay_form="1-sqrt")
    params = {"warmup": warmup / steps, "decay": length / (steps - warmup), "floor": 0.1}
    expected = family.multipliers(params, steps)
    np.testing.assert_allclose(run, expected, rtol=0, atol=2e-4)


def test_any_family_is_a_cooldown():
    params = {"warmup": 0.0, "beta": 0.3}
    cooldown = Cooldown(20, lambda u: FAMILIES["rex"].curve_at(u, params))
    found = in_one_program(lambda: branches(Trunk(), [50], cooldown).branches[0].multipliers)
    u = np.arange(20) / 20
    np.testing.assert_allclose(found, (1 - u) / (1 - 0.7 * u), rtol=0, atol=4 * EPS)


def test_a_run_that_goes_on_from_cooled_weights_ends_as_the_branches_do():
    shared = branches(Trunk(), HORIZONS, Cooldown(0.2))
    run = np.asarray(shared.consecutive())
    assert len(run) == 4000
    assert run[[399, 400, 450, 499, 500, 799]].tolist() == pytest.approx([1, 1, 0.5, 0.01, 1, 1], abs=EPS)
    errors = [
        abs(risk(run[: branch.horizon]) - risk(shared.from_scratch(branch))) for branch in shared.branches
    ]
    assert max(errors) < 2e-5
    assert errors[-1] < 1e-5


def test_the_power_law_falls_with_the_tokens_seen():
    crossovers = [PowerLaw(0.02, batch, 1.0).crossover for batch in (1, 128, 1024)]
    np.testing.assert_allclose(crossovers, [3.25e4, 4.40e8, 2.60e10], rtol=2e-3)
    law = PowerLaw(0.02, 128, tokens_per_step=128 * 1024.0)
    steps = np.array([0, 100, 10_000, 100_000])
    tokens = np.maximum(steps, 1e-9) * 128 * 1024
    expected = np.minimum(0.02, 128 * 4 * tokens**-0.51) / 0.02
    np.testing.assert_allclose(jax.jit(law)(steps.astype(np.float32)), expected, rtol=2e-5)
    assert expected[3] / expected[2] == pytest.approx(0.309, abs=5e-4)
    run = np.float64(in_one_program(lambda: whole(10_000, Cooldown(0.1), Trunk(1000, stable=law))))
    assert run[500] == pytest.approx(0.5, rel=1e-5)
    level = 128 * 4 * (9000 * 128 * 1024.0) ** -0.51 / 0.02
    np.testing.assert_allclose(run[9000:], level * (1 - np.arange(1000) / 1000), rtol=2e-5, atol=EPS)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Trunk(-1), "warmup must be at least 0 steps, got -1"),
        (lambda: Trunk(3, "sine"), "warmup_form must be in .*'cosine'.*, got 'sine'"),
        (lambda: Cooldown(0), "length must be steps.*fraction in .* got 0"),
        (lambda: Cooldown(1.5), "length must be steps.*fraction in .* got 1.5"),
        (lambda: Cooldown(math.nan), "length must be steps.*fraction in .* got nan"),
        (lambda: Cooldown(math.inf), "length must be steps.*fraction in .* got inf"),
        (lambda: Cooldown(0.2, "sqrt"), "form must be a function or in .*'1-sqrt'.*, got 'sqrt'"),
        (lambda: Cooldown(0.2, floor=1.5), "floor must be in .* got 1.5"),
        (
            lambda: Cooldown(0.2, jnp.ones_like, floor=0.5),
            "floor must be .* where form is a function, got 0.5",
        ),
        (
            lambda: branches(Trunk(), [], Cooldown(0.2)),
            "horizons must be one or more that ascend, got \\[\\]",
        ),
        (lambda: branches(Trunk(), [20, 10], Cooldown(0.2)), "that ascend, got \\[20, 10\\]"),
        (lambda: branches(Trunk(), [4], Cooldown(0.2)), "at least one, got 4 with a cooldown of 0"),
        (
            lambda: branches(Trunk(50), [60, 90], Cooldown(20)),
            "warm-up of 50 .* got 60 with a cooldown of 20",
        ),
        (lambda: PowerLaw(0.0, 1, 1.0), "max_lr must be positive and finite, got 0.0"),
        (lambda: PowerLaw(0.02, 1, 1.0, exponent=0.5), "exponent must be negative and finite, got 0.5"),
        (
            lambda: branches(Trunk(), [100, 150], Cooldown(60)).consecutive(),
            "the cooldown to 150 steps begins at 90, before the one to 100 ended",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(made, words):
    with pytest.raises(ValueError, match=words):
        made()
