"""Hand-made winners of the public optimizer race of a 124M-parameter GPT, and the families that hold them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from schedules import FAMILIES
from schedules.fitting import family_starts, project


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


RECORDS = [(root, 1500), *((held_power, n) for n in (1500, 2200, 3000)), (fast_fall, 1500)]


def distance(target, multipliers):
    """‖fit - target‖ / ‖target‖ at the best scale."""
    scale = np.dot(target, multipliers) / np.dot(multipliers, multipliers)
    return np.linalg.norm(target - scale * multipliers) / np.linalg.norm(target)


@pytest.mark.parametrize(("record", "num_steps"), RECORDS)
def test_knots_hold_each_record_to_one_percent(record, num_steps, reference):
    target = record(num_steps)
    with jax.enable_x64(True):
        starts = family_starts(FAMILIES["knots"], (0.1, 10.0), jax.random.key(0), 4)[:, 1:]
        nearest = project(FAMILIES["knots"], jnp.asarray(target), starts, 250)
    multipliers = reference("knots", np.arange(num_steps) / num_steps, nearest.params)
    assert distance(target, multipliers) <= 0.01
    assert nearest.value == pytest.approx(distance(target, multipliers), rel=1e-3)


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
