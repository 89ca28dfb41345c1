"""A journal belongs to one study: to its config, and to the caller's own workload, if it has one."""

import json
import math

import jax
import numpy as np
import pytest

import workloads
from experiments.shape_search import STUDY, main
from experiments.study.options.errors import StudyError
from experiments.study.storage.binding import bind
from experiments.study.storage.folder import StudyFolder
from experiments.study.storage.journal import Journal
from tests.experiments.journals import a_row, forget_runs

pytestmark = pytest.mark.xdist_group("finished")

EDITS = [("learning_rates", [0.1, 3.0]), ("optimizer", "adam"), ("seed", 5), ("confirm_replicates", 4)]


def edit(folder, field, value):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("field", "value"), EDITS)
def test_a_config_that_was_edited_has_no_report_by_the_name_of_the_field(study_copy, capsys, field, value):
    winners = (study_copy / "winners.json").read_bytes()
    kept = json.loads((study_copy / "config.json").read_text())[field]
    edit(study_copy, field, value)
    assert main(["report", str(study_copy)]) == 2
    assert f"  {field}: {kept!r} in the journal, {value!r} in config.json" in capsys.readouterr().out
    assert (study_copy / "winners.json").read_bytes() == winners


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("field", "value"), EDITS)
def test_half_a_study_is_not_ended_as_another_one(
    study_copy, command_options, capsys, journal_rows, field, value
):
    """As where config.json was edited by hand, or the journal is that of another folder."""
    assert forget_runs(study_copy, "stage = 'confirm'", "kind = 'winners'")
    rows = journal_rows(study_copy)
    edit(study_copy, field, value)
    assert main([*command_options(**{field: value}), "--folder", str(study_copy)]) == 2
    assert f"  {field}: " in capsys.readouterr().out
    assert journal_rows(study_copy) == rows


def test_what_binds_a_journal_is_its_first_chunk(finished):
    config = json.loads((finished.folder / "config.json").read_text())
    with Journal(finished.folder / "journal.sqlite") as journal:
        assert journal.events("study") == [{"config": config, "workload": None}]
        ((number, chunk),) = journal._read("SELECT number, chunk FROM events WHERE kind = 'study'")
    assert (number, chunk) == (1, 1)


def test_runs_of_no_study_are_refused(tmp_path, tiny_config):
    config = STUDY.fields(tiny_config())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.record([a_row(0)])
        with pytest.raises(StudyError, match="does not say of which study"):
            bind(journal, StudyFolder(tmp_path), config, None)
    with pytest.raises(StudyError, match="does not say of which study"):
        STUDY.report(tmp_path)


@pytest.fixture(scope="module")
def own():
    return workloads.load("linear_regression", dimension=8)


@pytest.fixture(scope="module")
def own_study(own, tmp_path_factory, one_rung_config):
    """(workload) → the scores of the study of that workload; the study is that of `own`."""
    folder = tmp_path_factory.mktemp("own")
    config = one_rung_config(candidates=2, batch=2)

    def scores(workload):
        return STUDY.run(config, folder, workload).best.winner.scores.tolist()

    return scores, scores(own)


def other_bits(value):
    """The same but for rounding."""
    return value * (1 + 2 * float(np.finfo(np.float32).eps))


@pytest.mark.usefixtures("no_training", "no_report")
@pytest.mark.parametrize(
    ("named", "changes"),
    [
        ("data", lambda own: {"data": own.data.at[0, 0].set(math.nextafter(own.data[0, 0], 9) + 1e-6)}),
        ("loss", lambda own: {"loss": lambda *arguments: 1.001 * own.loss(*arguments)}),
        ("metrics", lambda own: {"evaluate": lambda *a: {k: v + 0.01 for k, v in own.evaluate(*a).items()}}),
    ],
    ids=["data", "loss", "metrics"],
)
def test_a_workload_that_changed_is_refused_by_name(own, own_study, named, changes):
    scores, _ = own_study
    with pytest.raises(StudyError, match=f"workload: its {named} changed"):
        scores(own._replace(**changes(own)))


@pytest.mark.usefixtures("no_training", "no_report")
def test_a_workload_that_rounds_otherwise_is_the_same(own, own_study):
    scores, expected = own_study
    rounded = own._replace(
        loss=lambda *arguments: other_bits(own.loss(*arguments)),
        evaluate=lambda *arguments: jax.tree.map(other_bits, own.evaluate(*arguments)),
    )
    assert scores(rounded) == expected


@pytest.mark.usefixtures("no_training", "no_report")
def test_an_own_workload_and_the_one_of_that_name_are_two(own_study):
    with pytest.raises(StudyError, match="workload: the caller's own made the runs"):
        own_study[0](None)
