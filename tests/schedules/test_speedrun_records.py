"""Hand-made winners of the public optimizer race of a 124M-parameter GPT, and the families that hold them."""

import numpy as np
import pytest

from schedules import FAMILIES


def root(num_steps):
    """1 - √u."""
    return 1 - np.sqrt(np.arange(num_steps) / num_steps)


def held_power(num_steps):
    """100 steps of warm-up, 100 of hold, then 1 - u^0.4."""
    t = np.arange(num_steps)
    done = np.clip((t - 200) / (num_steps - 200), 0, 1)
    return np.where(t < 100, t / 100, 1 - done**0.4)


def fast_fall(num_steps):
    """In progress^0.6 to 20 % of the peak at 56 % of the run, then straight to 0."""
    x = np.arange(num_steps) / num_steps
    return np.where(x < 0.56, 1 - 0.8 * (x / 0.56) ** 0.6, 0.2 * (1 - x) / 0.44)


HELD = [  # as `schedules.fitting.project` found them: the warm-up and the ten levels
    (root, 1500, (0, 0.862, 0.8285, 0.7988, 0.7701, 0.7454, 0.5591, 0.2808, 0.0977, 0.0261, 0.0002)),
    (
        held_power,
        1500,
        (0.068, 0.981, 0.9867, 0.9822, 0.9936, 0.8383, 0.5266, 0.2426, 0.0812, 0.0215, 0.0001),
    ),
    (
        held_power,
        2200,
        (0.0462, 0.9846, 0.999, 0.8838, 0.7833, 0.7355, 0.5005, 0.2353, 0.0795, 0.0211, 0.0001),
    ),
    (held_power, 3000, (0.0336, 1, 0.8787, 0.7942, 0.7466, 0.7072, 0.4919, 0.2331, 0.079, 0.0209, 0)),
    (fast_fall, 1500, (0, 0.8858, 0.8519, 0.8238, 0.794, 0.768, 0.5685, 0.234, 0.0818, 0.0237, 0)),
]


def distance(target, multipliers):
    """‖fit - target‖ / ‖target‖ at the best scale."""
    scale = np.dot(target, multipliers) / np.dot(multipliers, multipliers)
    return np.linalg.norm(target - scale * multipliers) / np.linalg.norm(target)


@pytest.mark.parametrize(("record", "num_steps", "params"), HELD)
def test_knots_hold_each_record_to_one_percent(record, num_steps, params):
    params = dict(zip(FAMILIES["knots"].domain, params, strict=True))
    assert distance(record(num_steps), FAMILIES["knots"].multipliers(params, num_steps)) <= 0.01


@pytest.mark.parametrize(
    ("record", "num_steps", "params"),
    [
        (root, 1500, {"warmup": 0.0, "hold": 0.0, "exponent": 0.5}),
        (held_power, 1500, {"warmup": 1 / 15, "hold": 1 / 14, "exponent": 0.4}),
        (held_power, 3000, {"warmup": 1 / 30, "hold": 1 / 29, "exponent": 0.4}),
    ],
)
def test_hold_power_is_the_records_that_hold_and_fall_in_a_power(record, num_steps, params):
    multipliers = FAMILIES["hold_power"].multipliers({**params, "floor": 0.0}, num_steps)
    np.testing.assert_allclose(multipliers, record(num_steps), rtol=0, atol=2e-5)
