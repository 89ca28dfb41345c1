"""Equal budgets, well spent: which settings are tried, and which is chosen."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.study.options.errors import StudyError
from experiments.study.training.tuning import Budget, Named, next_place, tune

BUDGET = Budget(first_rates=5, more_rates=4, decays=(0.0, 1e-3), screen_replicates=3, confirm_replicates=4)
CENTRE = 0.02


def tuned_on(score):
    """Tune on a known score of (half doublings, decay, stage, replicate); and every trial that was run."""
    asked = []

    def evaluate(trials):
        asked.extend(trials)
        return {t: score(t.setting.half_doublings, t.setting.decay, t.stage, t.replicate) for t in trials}

    return tune(Named("muon"), CENTRE, BUDGET, evaluate), asked


@given(st.floats(-5.4, 5.4), st.sampled_from([0.0, 1e-3]))
def test_a_bowl_is_bracketed_and_its_bottom_found_to_the_nearest_factor_of_root_two(bottom, best_decay):
    def score(place, decay, stage, replicate):
        return (place - bottom) ** 2 + (decay != best_decay)

    found, _ = tuned_on(score)
    assert abs(found.setting.half_doublings - bottom) <= 0.5 + 1e-9
    assert found.setting.decay == best_decay
    assert found.bracketed


@given(st.integers(0, 2**31))
def test_whatever_the_scores_the_budget_is_spent_to_the_last_run_and_nothing_is_run_twice(seed):
    rng = np.random.default_rng(seed)
    table = {}

    def score(*setting):
        return table.setdefault(setting, rng.choice([rng.random(), math.inf]))

    found, asked = tuned_on(score)
    stages = Counter(trial.stage for trial in asked)
    assert stages == {"screen": (5 + 4) * 2 * 3, "confirm": 4}
    assert stages["screen"] == BUDGET.tuning_runs
    assert len({trial.identity for trial in asked}) == len(asked)
    medians = {
        (s.half_doublings, s.decay): np.median(
            [table[s.half_doublings, s.decay, "screen", r] for r in range(3)]
        )
        for s in found.screened
    }
    best = found.setting
    assert medians[best.half_doublings, best.decay] == min(medians.values())
    assert list(found.scores) == [table[best.half_doublings, best.decay, "confirm", r] for r in range(4)]


def test_an_optimum_beyond_the_budget_is_reported_as_not_bracketed():
    found, _ = tuned_on(lambda place, *_: -place)
    assert found.setting.half_doublings == 4 + 2 * BUDGET.more_rates  # one doubling a round from the edge
    assert not found.bracketed


def test_a_rate_among_others_that_all_diverged_too_is_not_bracketed():
    found, _ = tuned_on(lambda *_: math.inf)
    assert not found.bracketed


def test_the_learning_rate_of_a_place_counts_factors_of_root_two():
    found, asked = tuned_on(lambda place, *_: abs(place))
    rates = {t.setting.half_doublings: t.base_lr for t in asked}
    assert found.setting.learning_rate == 0.02
    assert (rates[4], rates[-2]) == pytest.approx((0.08, 0.01))
    assert rates[1] == pytest.approx(0.02 * math.sqrt(2))


def test_with_equal_neighbours_all_places_between_are_tried_before_any_further_out():
    scores = {-2: 1.0, 0: 0.0, 2: 1.0}
    for _ in range(2):
        scores[next_place(scores)] = 0.5
    assert sorted(scores) == [-2, -1, 0, 1, 2]


def test_all_that_is_wrong_with_a_budget_is_said_at_once():
    with pytest.raises(StudyError) as error:
        Budget(first_rates=2, more_rates=-1, decays=(0.1, 1.0), screen_replicates=0, confirm_replicates=0)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "first_rates",
        "more_rates",
        "screen_replicates",
        "confirm_replicates",
        "decays",
    ]
    assert lines[0] == "first_rates: must be at least 3, got 2."
    assert lines[4] == "decays: must be in [0, 1), got 1.0."
