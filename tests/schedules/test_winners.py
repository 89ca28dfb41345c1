"""Winners on disk, and their way back to a schedule."""

import json
import re

import numpy as np
import pytest

from schedules import load_winner

REX = {
    "family": "rex",
    "params": {"warmup": 0.25, "beta": 1.0},
    "options": {"warmup_form": "polynomial"},
    "base_lr": 0.3,
}
WSD = {
    "family": "wsd",
    "params": {"warmup": 0.0, "decay": 0.5, "floor": 0.1},
    "options": {"warmup_form": "linear", "decay_form": "cosine"},
    "base_lr": 0.01,
}
FREE = {"family": "free", "params": {f"level_{k}": 0.5 for k in range(8)}, "options": {}, "base_lr": 1.0}


def content(*winners, **others):
    return {"format": "steepest winners 1", "num_steps": 500, "winners": list(winners), **others}


@pytest.fixture
def written(tmp_path):
    """Write content to a winners.json; return its path."""

    def write(content):
        path = tmp_path / "winners.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_the_first_winner_comes_back_as_a_schedule(written):
    winner = load_winner(written(content(REX, WSD)))
    assert (winner.family.name, winner.params, winner.base_lr) == ("rex", REX["params"], 0.3)
    assert (winner.num_steps, winner.family.options["warmup_form"]) == (500, "polynomial")
    schedule = winner.family.schedule(winner.params, winner.base_lr, 8)
    # r² until W = 2 steps, then a straight line: rex at beta = 1
    expected = 0.3 * np.array([0, 0.25, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])
    np.testing.assert_allclose([schedule(t) for t in range(9)], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("entry", [REX, WSD, FREE], ids=lambda entry: entry["family"])
def test_a_winner_is_found_by_its_family(written, entry):
    winner = load_winner(str(written(content(FREE, WSD, REX))), entry["family"])
    assert winner.family.name == entry["family"]
    assert winner.params == entry["params"]
    assert winner.base_lr == entry["base_lr"]
    assert {name: winner.family.options[name] for name in entry["options"]} == entry["options"]


def test_a_family_that_did_not_take_part_is_named_with_those_that_did(written):
    with pytest.raises(ValueError, match=r"winners\.json.*'linear'.*\['rex', 'wsd'\]"):
        load_winner(written(content(REX, WSD)), "linear")


def test_a_misspelt_family_is_answered_with_the_nearest(written):
    with pytest.raises(ValueError, match="did you mean 'rex'"):
        load_winner(written(content(REX, WSD)), "rexx")


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_winner(tmp_path / "winners.json")


WHOLE = json.dumps(content(REX, WSD))


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "not json",
        "[]",
        "null",
        "3",
        "{}",
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-1],
        json.dumps(content()),
        json.dumps(content(REX, format="steepest winners 99")),
        json.dumps({"winners": [REX]}),
        json.dumps(content(winners={"rex": REX})),
        json.dumps(content(winners="rex")),
        json.dumps({name: value for name, value in content(REX).items() if name != "num_steps"}),
    ],
    ids=range(14),
)
def test_a_foreign_or_truncated_file_is_refused_by_name(written, foreign):
    with pytest.raises(ValueError, match=r"winners\.json"):
        load_winner(written(foreign))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"b": {"warmup": 0.0, "beta": -9.0}}, "beta must be in"),
        ({"b": {"beta": 1.0}}, "missing parameter 'warmup'"),
        ({"b": 0.5}, "group_params must be an object of objects of numbers"),
        ([], "group_params must be an object of objects of numbers"),
    ],
)
def test_a_shape_of_a_group_that_is_none_is_refused(written, shapes, message):
    entry = {**REX, "groups": {"a": 1.0, "b": 2.0}, "group_params": shapes}
    with pytest.raises(ValueError, match=message):
        load_winner(written(content(entry)), group="b")


def test_a_group_has_the_shape_of_all_where_it_has_none_of_its_own(written):
    winner = load_winner(written(content({**REX, "groups": {"a": 1.0, "b": 2.0}})), group="b")
    assert (winner.params, winner.base_lr) == (REX["params"], 0.6)


def test_a_folder_and_a_file_nested_deep_or_with_a_number_of_many_digits_are_refused_by_name(written):
    path = written("[" * 100_000)
    for refused in (path, path.parent, written(WHOLE.replace("500", "9" * 5000))):
        with pytest.raises(ValueError, match=re.escape(str(refused))):
            load_winner(refused)


BASE_LRS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "-1",
    "0",
    "true",
    "1e400",
    "1" + "0" * 400,
    '"0.3"',
    "null",
    "[0.3]",
]
HORIZONS = ["0", "-1", "true", "1e30", "500.0", "1" + "0" * 30, '"500"', "null", "[500]"]
NUMBERS = ["NaN", "Infinity", "1e400", "1" + "0" * 400, "true", '"0.25"', "null", "[0.25]", "{}"]


@pytest.mark.parametrize(
    ("written_as", "field", "values"),
    [
        ('"base_lr": 0.3', "base_lr", BASE_LRS),
        ('"num_steps": 500', "num_steps", HORIZONS),
        ('"warmup": 0.25', "warmup", NUMBERS),
        ('"floor": 0.1', "floor", NUMBERS),
    ],
    ids=["base_lr", "num_steps", "params", "options"],
)
def test_what_is_no_number_or_not_in_its_range_is_refused_by_name(written, written_as, field, values):
    cosine = {"family": "cosine", "params": {"warmup": 0.5}, "options": {"floor": 0.1}, "base_lr": 0.1}
    whole, family = json.dumps(content(REX, cosine)), "cosine" if field == "floor" else "rex"
    assert written_as in whole
    load_winner(written(whole), family)
    for value in values:
        path = written(whole.replace(written_as, f'"{field}": {value}'))
        with pytest.raises(ValueError, match=re.escape(str(path))):
            load_winner(path, family)


def test_a_family_that_stands_there_twice_is_refused(written):
    with pytest.raises(ValueError, match=r"winners\.json: more than one winner of family 'rex'"):
        load_winner(written(content(REX, WSD, REX)))


@pytest.mark.parametrize("missing", REX)
def test_a_winner_without_one_of_its_fields_is_refused(written, missing):
    entry = {name: value for name, value in REX.items() if name != missing}
    with pytest.raises(ValueError, match=r"winners\.json"):
        load_winner(written(content(entry)))


def test_a_winner_of_a_family_this_library_does_not_have_is_refused(written):
    with pytest.raises(ValueError, match="warp"):
        load_winner(written(content({**REX, "family": "warp"})))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"params": {"warmup": 1.5, "beta": 1.0}}, r"warmup.*\[0, 1\)"),
        ({"params": {"warmup": 0.5}}, "beta"),
        ({"params": {**REX["params"], "gamma": 1.0}}, "gamma"),
        ({"options": {"warmup_form": "sigmoid"}}, "warmup_form.*sigmoid"),
        ({"options": {"decay_form": "cosine"}}, "decay_form"),
    ],
)
def test_a_winner_that_its_family_refuses_is_refused(written, change, named):
    with pytest.raises(ValueError, match=named):
        load_winner(written(content({**REX, **change})))
