"""A study's folder: who may come back to it, and files that are there in full or not at all."""

import errno
import json
import os
import shutil
import stat

import pytest

from experiments.shape_search import STUDY, main
from experiments.study.options.errors import StudyError
from experiments.study.storage.folder import StudyFolder, open_folder, read_config, write_atomically
from tests.experiments.processes import output_of

pytestmark = pytest.mark.xdist_group("finished")

CONFIG = {"workload": "digits", "learning_rates": (0.1, 0.2), "options": {"model": "cnn"}, "seed": 3}

WRITE_WITH_LIMITED_FILES = """
import resource, sys
from pathlib import Path
from experiments.study.options.errors import StudyError
from experiments.study.storage.folder import write_atomically

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    write_atomically(Path(sys.argv[1]), bytes(5001))
except StudyError as error:
    print(error)
"""


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_new_folder_holds_the_config_and_nothing_else(tmp_path):
    open_folder(tmp_path / "a" / "b", CONFIG)
    assert names(tmp_path / "a" / "b") == ["config.json"]
    content = json.loads((tmp_path / "a" / "b" / "config.json").read_text())
    assert content == {**CONFIG, "learning_rates": [0.1, 0.2]}


def test_the_same_config_comes_back(tmp_path):
    open_folder(tmp_path, CONFIG)
    content = (tmp_path / "config.json").read_bytes()
    assert open_folder(tmp_path, dict(CONFIG)).path == tmp_path
    assert (tmp_path / "config.json").read_bytes() == content


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"seed": 4}, ["seed: 3 there, 4 asked for"]),
        ({"learning_rates": (0.1, 0.3)}, ["learning_rates: [0.1, 0.2] there, [0.1, 0.3] asked for"]),
        ({"options": {}}, ["options: {'model': 'cnn'} there, {} asked for"]),
        ({"seed": 0, "workload": "mnist"}, ["seed: 3 there, 0", "workload: 'digits' there, 'mnist'"]),
        ({"new": 1}, ["new: '(absent)' there, 1 asked for"]),
        ({"devices": "one"}, ["devices: '(absent)' there, 'one' asked for", "or with several of any number"]),
    ],
)
def test_another_config_is_refused_with_both_values_of_what_differs(tmp_path, changes, shown):
    open_folder(tmp_path, CONFIG)
    content = (tmp_path / "config.json").read_bytes()
    with pytest.raises(StudyError, match="another config") as error:
        open_folder(tmp_path, {**CONFIG, **changes})
    message = str(error.value)
    assert str(tmp_path) in message
    assert all(difference in message for difference in shown)
    assert sum(" there, " in line for line in message.splitlines()) == len(changes)
    assert (tmp_path / "config.json").read_bytes() == content


def test_a_field_that_went_away_is_a_difference(tmp_path):
    open_folder(tmp_path, CONFIG)
    with pytest.raises(StudyError, match=r"seed: 3 there, '\(absent\)' asked for"):
        open_folder(tmp_path, {name: value for name, value in CONFIG.items() if name != "seed"})


@pytest.mark.usefixtures("no_training", "no_report")
@pytest.mark.parametrize(
    "execution", [{"devices": 2, "chunk_runs": 3}, {"devices": 5, "chunk_runs": 500}, {"checkpoint_steps": 3}]
)
def test_how_a_study_is_executed_is_no_difference(study_copy, tiny_config, execution):
    winners = (study_copy / "winners.json").read_bytes()
    STUDY.run(tiny_config(), study_copy, **execution)
    assert (study_copy / "winners.json").read_bytes() == winners


@pytest.mark.parametrize("name", ["", "study", "deep/study"])
def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path, name):
    blocker = tmp_path / "file"
    blocker.write_text("mine")
    with pytest.raises(StudyError, match="cannot be written to") as error:
        open_folder(blocker / name, CONFIG)
    assert str(blocker / name) in str(error.value)
    assert blocker.read_text() == "mine"


@pytest.mark.usefixtures("no_training")
def test_an_unwritable_folder_ends_the_command_with_status_2(tmp_path, command_options, capsys):
    (tmp_path / "file").write_text("mine")
    assert main([*command_options(), "--folder", str(tmp_path / "file" / "study")]) == 2
    assert f"{tmp_path}/file/study cannot be written to" in capsys.readouterr().out


@pytest.mark.parametrize("foreign", ["thesis.tex", "journal.sqlite", "winners.json", ".hidden"])
def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path, foreign):
    (tmp_path / foreign).write_text("mine")
    with pytest.raises(StudyError, match="not empty") as error:
        open_folder(tmp_path, CONFIG)
    assert str(tmp_path) in str(error.value)
    assert names(tmp_path) == [foreign]
    assert (tmp_path / foreign).read_text() == "mine"


def test_a_folder_whose_making_was_killed_is_made_anew(tmp_path):
    (tmp_path / ".config.json.partial").write_text('{"workload": "dig')
    folder = open_folder(tmp_path, CONFIG)
    assert names(tmp_path) == ["config.json"]
    assert read_config(folder)["seed"] == 3


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b'{"seed": 3', b"[1, 2]", b"3", b"\xff\xfe\x00"),
        b'{"seed": ' + 100_000 * b"[" + 100_000 * b"]" + b"}",
        b'{"seed": ' + 5_000 * b"9" + b"}",
    ],
    ids=["empty", "half", "cut", "list", "number", "noise", "deep", "long"],
)
def test_a_damaged_config_is_refused_by_name(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(StudyError) as error:
        open_folder(tmp_path, CONFIG)
    assert str(tmp_path / "config.json") in str(error.value)
    assert (tmp_path / "config.json").read_bytes() == content


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_config_that_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "config.json")
    with pytest.raises(StudyError, match=r"config\.json is no file"):
        open_folder(tmp_path, CONFIG)


def test_an_atomic_write_leaves_the_file_alone(tmp_path):
    path = tmp_path / "one.png"
    write_atomically(path, b"first")
    write_atomically(path, "second, äöü")
    assert path.read_bytes() == "second, äöü".encode()
    assert names(path.parent) == ["one.png"]


def test_a_write_that_dies_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "winners.json"
    write_atomically(path, "old")

    def die(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, "new and longer")
    assert path.read_text() == "old"
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["winners.json"]


@pytest.mark.parametrize("limit", [0, 1, 4000, 5000])
def test_a_write_on_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path, limit):
    """A limit of the size of a file stands for the disk."""
    path = tmp_path / "winners.json"
    write_atomically(path, "old")
    assert output_of(WRITE_WITH_LIMITED_FILES, path, limit) == f"{path} cannot be written: File too large.\n"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["winners.json"]


@pytest.mark.parametrize("refused", ["open", "replace"])
def test_a_write_to_a_read_only_folder_is_an_error_by_name(tmp_path, monkeypatch, refused):
    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(tmp_path), refused, refuse)
    with pytest.raises(StudyError) as error:
        write_atomically(tmp_path / "winners.json", "new")
    assert str(error.value) == f"{tmp_path}/winners.json cannot be written: Permission denied."
    assert names(tmp_path) == []


def test_a_write_into_what_is_no_folder_is_an_error_by_name(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StudyError, match=r"file/winners.json cannot be written"):
        write_atomically(tmp_path / "file" / "winners.json", "new")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_write_outlives_a_power_cut(tmp_path, monkeypatch):
    """The content is on the disk before it takes its name, and its name before the write returns."""
    path, steps = tmp_path / "winners.json", []

    def sync(descriptor, fsync=os.fsync):
        state = os.fstat(descriptor)
        steps.append(("folder" if stat.S_ISDIR(state.st_mode) else state.st_size, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    write_atomically(path, "all of it")
    assert steps == [(9, False), ("folder", True)]


def test_the_places_in_a_folder(tmp_path):
    folder = StudyFolder(tmp_path)
    places = (folder.config, folder.journal, folder.winners, folder.report, folder.figures)
    assert [str(place.relative_to(tmp_path)) for place in places] == [
        "config.json",
        "journal.sqlite",
        "winners.json",
        "report.html",
        "figures",
    ]


@pytest.mark.parametrize(
    "content",
    [
        '{"question": "which batch size?"}',
        '{"families": 3}',
        '{"learning_rates": ["a", "b"]}',
        "[]",
        "no json",
        "",
    ],
)
def test_a_foreign_config_has_no_report(study_copy, capsys, content):
    (study_copy / "config.json").write_text(content)
    assert main(["report", str(study_copy)]) == 2
    assert str(study_copy / "config.json") in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"confidence": 7}, {"families": ["rx"]}])
def test_a_config_with_impossible_values_has_no_report(study_copy, capsys, change):
    config = json.loads((study_copy / "config.json").read_text())
    (study_copy / "config.json").write_text(json.dumps({**config, **change}))
    assert main(["report", str(study_copy)]) == 2
    assert next(iter(change)) in capsys.readouterr().out


@pytest.mark.usefixtures("no_report")
def test_a_study_killed_before_its_journal_was_made_starts(
    tmp_path, finished, tiny_config, journal_rows, at_call
):
    shutil.copy(finished.folder / "config.json", tmp_path / "config.json")
    (tmp_path / ".journal.sqlite.partial").write_bytes(b"SQLite format 3\x00 and no more")

    def leave():
        raise KeyboardInterrupt  # its start is enough

    at_call(2, leave)
    with pytest.raises(KeyboardInterrupt):
        STUDY.run(tiny_config(), tmp_path, chunk_runs=64)
    rows = journal_rows(tmp_path)
    assert len(rows) > 20
    assert rows.items() <= journal_rows(finished.folder).items()
