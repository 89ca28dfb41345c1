"""Bad input ends with a message that says what to mend, and before anything is trained or recorded."""

import pytest

import workloads
from experiments.endurance.apart import STUDIES
from experiments.shape_search import STUDY, Config, main
from experiments.studies import load
from experiments.study.options.errors import StudyError, choice_problem
from tests.experiments.refusals import REFUSALS
from tests.experiments.small_study import call, changed, unwrapped

pytestmark = pytest.mark.usefixtures("no_training", "loaded")


@pytest.mark.parametrize(
    ("form", "changes"), [(form, changes) for form, cases in REFUSALS.items() for changes in cases]
)
def test_the_command_says_what_is_wrong_and_ends_with_status_2(tmp_path, form, changes):
    folder = tmp_path / "study"
    status, output = call(load(STUDIES[form].study).main, *changed(form, changes), "--folder", folder)
    message = unwrapped(output)
    assert status == 2
    assert [part for part in REFUSALS[form][changes].split(" | ") if part not in message] == []
    assert "Traceback" not in message
    assert not folder.exists()


def test_a_folder_with_brackets_is_shown_as_it_was_typed(tmp_path, command_options):
    folder = tmp_path / "[draft]"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    status, output = call(main, *command_options(), "--folder", folder)
    assert status == 2
    assert str(folder) in output


def test_all_errors_of_a_config_are_reported_at_once():
    wrong = {"optimizer": "adamww", "weight_decay": -0.1, "learning_rates": (0.2, 0.1), "batch_size": 0}
    with pytest.raises(StudyError) as error:
        Config(families=("rx", "cosin"), confidence=2.0, candidates=0, **wrong)
    named = {line.split(":")[0] for line in str(error.value).splitlines()}
    assert named >= {*wrong, "families", "confidence", "candidates"}
    assert "did you mean 'adamw'" in str(error.value)


@pytest.mark.parametrize("rates", [(0.1,), (0.1, 0.2, 0.3), ()])
def test_learning_rates_are_two(rates):
    with pytest.raises(StudyError, match="learning_rates: must be two"):
        Config(learning_rates=rates)


def test_the_metric_of_one_s_own_workload_is_checked(tmp_path, tiny_config):
    with pytest.raises(StudyError, match=r"metric: there is no 'test_loss'.*train_loss"):
        STUDY.run(
            tiny_config(metric="test_loss"),
            tmp_path / "study",
            workloads.load("linear_regression", dimension=4),
        )
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
