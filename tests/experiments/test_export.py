"""--export: a snippet that runs, and the table of multipliers that it must agree with."""

import json

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.shape_search import Config
from experiments.shape_search.export import exported
from experiments.study.training.optimizers import OPTIMIZERS
from schedules import FAMILIES, load_winner
from schedules.search import Candidate

MIDDLE = {  # a point inside each family's space, off its corners
    name: {parameter: (interval.low + 2 * interval.high) / 3 for parameter, interval in family.space.items()}
    for name, family in FAMILIES.items()
}


def executed(text):
    """What the snippet defines, and the table below it, {step: multiplier}."""
    code, comment, table = text.partition("# step multiplier")
    assert comment
    defined = {}
    exec(code, defined)
    lines = [line.split() for line in table.splitlines()[1:]]
    return defined, {int(step): float(multiplier) for step, multiplier in lines}


def assert_schedule_is(text, base_lr, num_steps):
    defined, multipliers = executed(text)
    assert list(multipliers) == list(range(num_steps))
    assert 0.5 < max(multipliers.values()) <= 1
    for step, multiplier in multipliers.items():
        assert float(defined["schedule"](step)) == pytest.approx(
            base_lr * multiplier, rel=1e-5, abs=1e-7 * base_lr
        )
    assert isinstance(defined["optimizer"], optax.GradientTransformation)


def test_the_printed_snippet_gives_the_printed_table_of_the_best_winner(finished):
    best = json.loads((finished.folder / "winners.json").read_text())["winners"][0]
    text = finished.output[finished.output.index("import optax") :]
    assert_schedule_is(text, best["base_lr"], num_steps=20)
    defined, _ = executed(text)
    assert (defined["family"].name, defined["params"]) == (best["family"], best["params"])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_exports_a_snippet_that_runs(name):
    candidate = Candidate(FAMILIES[name], 0, MIDDLE[name], 0.03)
    assert_schedule_is(exported(candidate, Config(num_steps=17)), 0.03, 17)


INDEPENDENT = {"weight_decay": 0.1, "decay_mode": "independent"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"weight_decay": 0.1 * OPTIMIZERS[name].decays}) for name in OPTIMIZERS),
        ("adam", {"b1": 0.5, "b2": 0.75}),
        ("adamw", {"b1": 0.5, "weight_decay": 0.1}),
        ("adamw", {"b2": 0.75, **INDEPENDENT}),
        ("lion", {"b1": 0.5, "b2": 0.25, **INDEPENDENT}),
        ("momentum", INDEPENDENT),
        ("muon", INDEPENDENT),
    ],
)
def test_the_exported_optimizer_steps_as_the_study_s_does(name, options):
    config = Config(optimizer=name, num_steps=17, **options)
    candidate = Candidate(FAMILIES["linear"], 0, MIDDLE["linear"], 0.03)
    defined, _ = executed(exported(candidate, config))
    params = {"w": np.array([[1.0, -2.0]], np.float32)}

    def three_steps(optimizer):
        state, moved = optimizer.init(params), params
        for gradient in ([0.5, 2.0], [-1.0, 0.25], [3.0, 1.0]):
            updates, state = optimizer.update({"w": jnp.array([gradient], jnp.float32)}, state, moved)
            moved = optax.apply_updates(moved, updates)
        return moved["w"]

    mine = config.transformation(defined["schedule"])
    np.testing.assert_array_equal(three_steps(defined["optimizer"]), three_steps(mine))
    assert np.all(three_steps(mine) != params["w"])


def test_gradients_are_clipped_before_the_exported_optimizer_steps():
    """SGD on gradients of norm 5 and 1/2, of which the first is scaled down to 1."""
    config = Config(optimizer="sgd", clip_norm=1.0, num_steps=17)
    defined, _ = executed(exported(Candidate(FAMILIES["linear"], 0, MIDDLE["linear"], 0.03), config))
    state = defined["optimizer"].init(jnp.zeros(2))
    for step, (gradient, clipped) in enumerate([([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])]):
        update, state = defined["optimizer"].update(jnp.array(gradient), state)
        expected = -float(defined["schedule"](step)) * np.array(clipped)
        np.testing.assert_allclose(update, expected, rtol=1e-6)


def test_options_that_were_chosen_are_exported():
    family = FAMILIES["wsd"].with_options(warmup_form="cosine", decay_form="1-sqrt")
    params = {"warmup": 0.25, "decay": 0.5, "floor": 0.0}
    text = exported(Candidate(family, 0, params, 1.0), Config(num_steps=16))
    _, multipliers = executed(text)
    x = np.arange(16) / 16
    rising, u = (1 - np.cos(np.pi * x / 0.25)) / 2, (x - 0.25) / 0.75
    falling = np.where(u < 0.5, 1, 1 - np.sqrt(np.clip((u - 0.5) / 0.5, 0, 1)))
    np.testing.assert_allclose(list(multipliers.values()), np.where(x < 0.25, rising, falling), atol=1e-6)
    assert_schedule_is(text, 1.0, 16)


def test_every_winner_on_disk_loads_as_it_was_found(finished):
    path = finished.folder / "winners.json"
    winners = json.loads(path.read_text())["winners"]
    assert load_winner(path).family.name == winners[0]["family"]
    for entry in winners:
        winner = load_winner(path, entry["family"])
        assert (winner.family.name, dict(winner.family.options)) == (entry["family"], entry["options"])
        assert (dict(winner.params), winner.base_lr, winner.num_steps) == (
            entry["params"],
            entry["base_lr"],
            20,
        )
