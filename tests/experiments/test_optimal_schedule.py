"""The study of best schedules: what it reports is true of the schedules it found."""

import itertools
import json

import numpy as np
import pytest

from experiments.optimal_schedule import STUDY, Config
from experiments.optimal_schedule.config import MEAN_FIELD, Setting
from experiments.optimal_schedule.findings import claims
from experiments.optimal_schedule.gaps import Found, Member, Outcome, gap, median_gap, projected
from experiments.optimal_schedule.runs import all_trials
from schedules import FAMILIES
from tests.experiments.small_study import config_of

pytestmark = pytest.mark.xdist_group("optimal_schedule")

SPECTRUM = 1 / np.arange(1.0, 7) / np.sum(1 / np.arange(1.0, 7))


@pytest.fixture(scope="module")
def settings(finished_studies):
    """Of the winners.json of the small form."""
    folder = finished_studies("optimal_schedule").folder
    return json.loads((folder / "winners.json").read_text())["settings"]


def schedule(setting, name):
    return next(entry for entry in setting["schedules"] if entry["schedule"] == name)


def test_full_batches_are_certified_at_the_loss_their_eigenvalues_give(tmp_path):
    STUDY.run(config_of("optimal_schedule", "--batch-size 6 --momenta"), tmp_path)
    (setting,) = json.loads((tmp_path / "winners.json").read_text())["settings"]
    for entry in setting["schedules"]:
        factors = np.prod(1 - np.array(entry["learning_rates"])[:, None] * SPECTRUM, axis=0)
        # the moments pass through values far above the end's, and are rounded there
        assert entry["median"]["value"] == pytest.approx(np.mean(factors**2) / 2, rel=1e-6, abs=1e-12)
    # sixteen steps for six eigenvalues: zero is reachable, and no family reaches it
    best = schedule(setting, setting["best_found"])["median"]["value"]
    assert best < 1e-6
    assert best < schedule(setting, "rex")["median"]["value"]


def test_the_best_found_is_the_lower_of_both_minimisers_and_below_every_family(settings):
    for setting in settings:
        minimised = {name: schedule(setting, name)["minimised"] for name in ("lbfgs", "adam")}
        assert setting["best_found"] == min(minimised, key=minimised.get)
        lowest = min(minimised.values())
        assert all(schedule(setting, name)["minimised"] > lowest for name in setting["families"])


def test_families_and_projections_are_the_members_that_their_parameters_say(settings):
    for setting, name in itertools.product(settings, ["rex"]):
        target = np.array(schedule(setting, setting["best_found"])["learning_rates"])
        for label, kind in ((name, "families"), (projected(name), "projections")):
            member = setting[kind][name]
            multipliers = np.asarray(FAMILIES[name].multipliers(member["params"], 16), np.float64)
            rates = np.array(schedule(setting, label)["learning_rates"])
            np.testing.assert_allclose(rates, member["base_lr"] * multipliers, rtol=1e-4, atol=1e-5)
        distance = setting["projections"][name]["distance"]
        assert distance == pytest.approx(np.linalg.norm(target - rates) / np.linalg.norm(target), rel=1e-6)
        assert distance <= np.linalg.norm(
            target - np.array(schedule(setting, name)["learning_rates"])
        ) / np.linalg.norm(target) * (1 + 1e-6)


def test_the_mean_field_is_asked_where_there_is_no_momentum(settings):
    asked = {s["label"]: any(e["schedule"] == MEAN_FIELD for e in s["schedules"]) for s in settings}
    assert asked == {"base": True, "β = 0.5": False}


def test_gaps_are_means_and_medians_of_the_ratios_on_the_same_kernel():
    reference = np.array([1.0, 10.0, 100.0, np.inf, 2.0])
    losses = np.array([1.1, 12.0, 150.0, np.inf, 3.0])  # 1.1, 1.2, 1.5, 1 where both diverged, 1.5
    assert gap(losses, reference, 0.95).value == pytest.approx((1.1 * 1.2 * 1.5 * 1.5) ** (1 / 5) - 1)
    assert median_gap(losses, reference, 0.95).value == pytest.approx(0.2)
    diverged = np.array([1.0, 10.0, 100.0, 1.0, np.inf])
    assert gap(diverged, reference.clip(max=1e3), 0.95).value == np.inf
    assert median_gap(diverged, reference.clip(max=1e3), 0.95).value == 0


def found(loss, learning_rates):
    return Found("constant", loss, learning_rates, np.array([]))


def made_up_outcome(family=1.2, other=1.005, mean_field=3.0):
    """Losses on thirty kernels that are the best found's times a factor, a flat schedule that ends low."""
    kernels = np.linspace(1, 2, 30)
    flat = np.array([*np.ones(18), 0.5, 0.5])
    fresh = {
        "lbfgs": kernels,
        "adam": other * kernels,
        "rex": family * kernels,
        MEAN_FIELD: mean_field * kernels,
    }
    minimised = {"lbfgs": 1.0, "adam": other, "rex": family, MEAN_FIELD: 1.0}
    wiggly = flat + 0.1 * (np.arange(20) == 0)
    member = Member({}, 1.0, gap(fresh["rex"], kernels, 0.95), median_gap(fresh["rex"], kernels, 0.95))
    return Outcome(
        Setting(0, "base", 1.0, 4, 20, 0.0),
        "lbfgs",
        [found(1.0, flat), found(1.005, wiggly), found(2.0, 9 * wiggly**4)],
        {name: found(loss, flat) for name, loss in minimised.items()},
        fresh,
        {"rex": member},
        {"rex": member},
    )


def held(**changes):
    return [claim.held for claim in claims([made_up_outcome(**changes)], 0.95)]


def test_claims_say_what_made_up_losses_are():
    made_up = claims([made_up_outcome()], 0.95)
    effects = [claim.effect.value for claim in made_up]
    # the mean field promised 1 where the truth is three times 1 to 2
    truth = 3 * np.exp(np.mean(np.log(np.linspace(1, 2, 30)))) - 1
    np.testing.assert_allclose(effects, [0.2, 0.2, 0.005, 0.5, 1, 2, truth], rtol=1e-12)
    # the first rate is 1 or 1.1 in what came within 1 %, and the third descent did not
    np.testing.assert_allclose(made_up[4].effect, [1, 1, 1.1])
    assert [claim.held for claim in made_up] == [True, True, True, True, False, True, True]


def test_claims_fail_where_their_numbers_do():
    assert held(family=0.99)[:2] == [False, False]
    assert held(other=1.02)[2] is False
    assert held(mean_field=0.9)[5:] == [False, False]


def test_settings_differ_from_the_base_in_one_respect():
    config = Config(num_steps=8, exponents=(2.0,), batch_sizes=(), horizons=(5,), momenta=(0.9,))
    labels = [setting.label for setting in config.settings]
    assert labels == ["base", "a = 2", "T = 5", "β = 0.9"]
    base = config.settings[0]
    assert config.settings[3] == base._replace(number=3, label="β = 0.9", momentum=0.9)
    assert len({trial.identity for trials in all_trials(config) for trial in trials}) == sum(
        map(len, all_trials(config))
    )
