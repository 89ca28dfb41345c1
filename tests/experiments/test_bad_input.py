"""Bad input ends with a message that says what to mend, and before anything is trained or recorded."""

import pytest

from experiments.shape_search import STUDY, Config, main
from experiments.study.options.errors import StudyError, choice_problem

pytestmark = pytest.mark.usefixtures("no_training")

# changes of the tiny study's options, and what the message must hold
CASES = {
    "unknown workload": (
        {"workload": "digit", "workload_options": None},
        ["workload", "'digit'", "'digits'"],
    ),
    "unknown family": ({"families": ["rx"]}, ["families", "'rx'", "'rex'"]),
    "unknown metric": ({"metric": "train_los"}, ["metric", "'train_los'", "'train_loss'"]),
    "unknown optimizer": ({"optimizer": "adm"}, ["optimizer", "'adm'", "'adam'"]),
    "unknown strategy": ({"strategy": "sobel"}, ["strategy", "'sobel'", "'sobol'"]),
    "unknown warm-up": ({"warmup_form": "linar"}, ["warmup", "'linar'", "'linear'"]),
    "unknown option": (
        {"workload_options": {"dimensoin": 8}},
        ["workload_options", "dimensoin", "'dimension'"],
    ),
    "option of a bad value": (
        {"workload_options": {"dimension": 1}},
        ["workload_options", "dimension", "2", "1"],
    ),
    "option of a bad type": ({"workload_options": {"dimension": "big"}}, ["workload_options", "big"]),
    "family named twice": ({"families": ["rex", "rex"]}, ["families", "once", "rex"]),
    "learning rate of zero": ({"learning_rates": [0, 1]}, ["learning_rates", "positive", "0.0"]),
    "negative learning rate": ({"learning_rates": [-1, 1]}, ["learning_rates", "positive", "-1.0"]),
    "infinite learning rate": ({"learning_rates": [1, "inf"]}, ["learning_rates", "finite", "inf"]),
    "learning rate no number": ({"learning_rates": [1, "nan"]}, ["learning_rates", "nan"]),
    "unsorted learning rates": ({"learning_rates": [1, 0.5]}, ["learning_rates", "ascending", "(1.0, 0.5)"]),
    "a single learning rate": ({"learning_rates": [1]}, ["learning-rates"]),
    "repeated learning rates": ({"learning_rates": [1, 1]}, ["learning_rates", "ascending"]),
    "no screen replicates": ({"rung_replicates": [0, 3]}, ["replicates", "at least 1", "0"]),
    "rungs that fall": ({"rung_replicates": [3, 2]}, ["rungs", "none asking for less"]),
    "no rungs": ({"rung_replicates": None, "rung_horizons": [0.5, 1]}, ["rung_horizons", "(0.5, 1.0)"]),
    "a horizon beyond the last": ({"rung_horizons": [2, 1]}, ["rung_horizons", "(0, 1]", "(2.0, 1.0)"]),
    "a last rung cut short": ({"rung_horizons": [0.2, 0.5]}, ["rung_horizons", "the last 1", "(0.2, 0.5)"]),
    "nobody goes on": ({"keep_fraction": 0}, ["keep_fraction", "(0, 1]", "0.0"]),
    "no select replicates": ({"select_replicates": 0}, ["select_replicates", "at least 1", "0"]),
    "no confirm replicates": ({"confirm_replicates": -3}, ["confirm_replicates", "at least 1", "-3"]),
    "no candidates": ({"candidates": 0}, ["candidates", "at least 1", "0"]),
    "none at a time": ({"batch": 0}, ["batch", "at least 1", "0"]),
    "no top": ({"top": 0}, ["top", "at least 1", "0"]),
    "no steps": ({"num_steps": 0}, ["num_steps", "at least 1", "0"]),
    "empty batch": ({"batch_size": 0}, ["batch_size", "at least 1", "0"]),
    "batch beyond the data": ({"batch_size": 9}, ["batch_size", "8", "9"]),
    "no evaluation": ({"evaluations": 0}, ["evaluations", "at least 1", "0"]),
    "best of one evaluation": (
        {"metric": "best_train_loss"},
        ["metric", "'best_train_loss'", "'train_loss'"],
    ),
    "no microbatches": ({"microbatches": 0}, ["microbatches", "at least 1", "0"]),
    "batch that devices and microbatches do not divide": (
        {"microbatches": 2, "data_parallel": 4},
        ["batch_size", "multiple", "8", "4"],
    ),
    "gradients clipped to nothing": ({"clip_norm": 0}, ["clip_norm", "positive", "0.0"]),
    "average that never moves": ({"average_decay": 1}, ["average_decay", "[0, 1)", "1.0"]),
    "unknown precision": ({"precision": "float16"}, ["precision", "float16", "bfloat16"]),
    "no vectorize": ({"vectorize": 0}, ["vectorize", "at least 1", "0"]),
    "confidence of one": ({"confidence": 1}, ["confidence", "between 0 and 1", "1.0"]),
    "confidence of zero": ({"confidence": 0}, ["confidence", "between 0 and 1", "0.0"]),
    "confidence in percent": ({"confidence": 95}, ["confidence", "between 0 and 1", "95"]),
    "decay without effect": ({"weight_decay": 0.1}, ["weight_decay", "adamw", "lion", "sgd"]),
    "negative decay": ({"weight_decay": -0.1, "optimizer": "adamw"}, ["weight_decay", "negative", "-0.1"]),
    "unknown decay mode": ({"decay_mode": "scale"}, ["decay", "'scale'", "'scaled'"]),
    "betas of an optimizer without": ({"b1": 0.5}, ["b1", "sgd has none", "Adam"]),
    "beta of one": ({"b2": 1, "optimizer": "adam"}, ["b2", "[0, 1)", "1.0"]),
    "negative seed": ({"seed": -1}, ["seed", "-1"]),
    "too many devices": ({"devices": 9}, ["devices", "8", "9"]),
    "no devices": ({"devices": 0}, ["devices", "8", "0"]),
    "workload and devices": (
        {"workload": "digit", "workload_options": None, "devices": 9},
        ["workload: there is no 'digit'", "devices: "],
    ),
    "metric, batch and devices": (
        {"metric": "loss", "batch_size": 9, "devices": 0},
        ["metric: ", "batch_size: must be in [1, 8]", "devices: "],
    ),
    "checkpoints now and then": ({"checkpoint_seconds": "nan"}, ["checkpoint_seconds", "negative", "nan"]),
    "empty chunks": ({"chunk_runs": 0}, ["chunk_runs", "at least 1", "0"]),
    "word for a number": ({"candidates": "many"}, ["candidates", "many"]),
    "unknown argument": ({"candidate": 4}, ["--candidate", "--candidates"]),
}


def exit_status(arguments):
    """Of the command; what it is does not depend on whether it returns or exits."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


def unwrapped(text):
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("case", CASES)
def test_the_command_says_what_is_wrong_and_ends_with_status_2(tmp_path, command_options, capsys, case):
    changes, expected = CASES[case]
    folder = tmp_path / "study"
    status = exit_status([*command_options(**changes), "--folder", str(folder)])
    captured = capsys.readouterr()
    message = unwrapped(captured.out + captured.err)
    assert status == 2
    assert [part for part in expected if part not in message] == []
    assert "Traceback" not in message
    assert not (folder / "journal.sqlite").exists()


@pytest.mark.parametrize("name", ["[/rex]", "[bold]rex", "rex[/]", "[red]"])
def test_a_name_with_brackets_is_shown_as_it_was_typed(tmp_path, command_options, capsys, name):
    status = exit_status([*command_options(families=[name]), "--folder", str(tmp_path / "study")])
    assert status == 2
    assert repr(name) in unwrapped(capsys.readouterr().out)


def test_a_folder_with_brackets_is_shown_as_it_was_typed(tmp_path, command_options, capsys):
    folder = tmp_path / "[draft]"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert exit_status([*command_options(), "--folder", str(folder)]) == 2
    assert str(folder) in capsys.readouterr().out


def test_all_errors_of_a_config_are_reported_at_once():
    with pytest.raises(StudyError) as error:
        Config(
            families=("rx", "cosin"),
            optimizer="sdg",
            weight_decay=-0.1,
            learning_rates=(0.2, 0.1),
            batch_size=0,
            confidence=2.0,
            candidates=0,
        )
    lines = str(error.value).splitlines()
    for words in (
        ("families", "'rex'"),
        ("families", "'cosine'"),
        ("optimizer", "'sgd'"),
        ("weight_decay",),
        ("learning_rates", "ascending"),
        ("batch_size",),
        ("confidence",),
        ("candidates",),
    ):
        assert any(all(word in line for word in words) for line in lines), words


@pytest.mark.parametrize("rates", [(0.1,), (0.1, 0.2, 0.3), ()])
def test_learning_rates_are_two(rates):
    with pytest.raises(StudyError, match="learning_rates: must be two"):
        Config(learning_rates=rates)


def test_an_unknown_optimizer_names_the_nearest_in_python_too():
    with pytest.raises(StudyError, match="did you mean 'adamw'"):
        Config(optimizer="adamww")


def test_the_metric_of_one_s_own_workload_is_checked(tmp_path, tiny_config):
    from workloads import load

    with pytest.raises(StudyError, match=r"metric: there is no 'test_loss'.*train_loss"):
        STUDY.run(tiny_config(metric="test_loss"), tmp_path / "study", load("linear_regression", dimension=4))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cosine", None),
        ("cosin", "family: there is no 'cosin'; did you mean 'cosine'? Known: cosine, rex."),
        ("zzzzzz", "family: there is no 'zzzzzz' Known: cosine, rex."),
    ],
)
def test_the_nearest_name_is_offered_where_there_is_one(value, expected):
    problem = choice_problem("family", value, ("cosine", "rex"))
    assert (problem or "").replace("; Known", " Known").replace(". Known", " Known") == (expected or "")
