"""What every study promises, asked of each in its small form: it resumes, is drawn again, tells the same
everywhere, and says what is wrong. One finished folder of each serves all tests."""

import base64
import dataclasses
import html
import io
import itertools
import json
import re
import shutil

import matplotlib.image
import numpy as np
import pytest

from experiments.endurance.apart import STUDIES
from experiments.studies import load
from experiments.study.command import typed
from experiments.study.options.groups import explanations
from tests.experiments.journals import asked, forget_runs
from tests.experiments.small_study import call, painting, unwrapped

FORMS = [*STUDIES, "toy"]
# compiled as users do: searches that branch on scores, a network whose runs are saved; the others' programs
# take XLA minutes
BITS = ("shape_dependence", "shape_search_checkpointed")

# their lost runs come back on other devices: one study of each kind of program, and all that hold runners of
# their own; where rows lie is else a matter of the machinery, and `endurance placements` asks it of all
PLACED = (
    *("toy", "reversal", "transfer", "ingredients"),
    *("loss_prediction", "optimal_schedule", "search_efficiency", "shape_search", "shape_dependence"),
)


def form(name):
    """Its tests run in one worker, where the tests of its study do."""
    marks = [pytest.mark.xdist_group(name), *[pytest.mark.bits] * (name in BITS)]
    return pytest.param(name, marks=marks)


@pytest.fixture(params=map(form, FORMS))
def finished(request, finished_studies):
    return finished_studies(request.param)


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished.folder, tmp_path / "copy")


def winners(folder, left_out=()):
    """The content of every winners.json of a study by its place, without what the clock decided."""

    def kept(value):
        if isinstance(value, dict):
            return {key: kept(inner) for key, inner in value.items() if key not in left_out}
        return [kept(inner) for inner in value] if isinstance(value, list) else value

    paths = sorted(folder.rglob("winners.json"))
    return {str(path.relative_to(folder)): kept(json.loads(path.read_text())) for path in paths}


def rows_of_all(folder, journal_rows):
    """By its place, the rows of every journal of a study."""
    places = [path.parent for path in sorted(folder.rglob("journal.sqlite"))]
    return {place.relative_to(folder): journal_rows(place) for place in places}


def test_lost_runs_come_back_bit_for_bit(finished, copy, journal_rows):
    study, folder, words, _ = finished
    devices = ["--devices", 3] if study.name in PLACED else []
    timed, expected = study.timed_keys(folder), rows_of_all(folder, journal_rows)
    last = "(SELECT MAX(stage) FROM trials WHERE stage > (SELECT MIN(stage) FROM trials))"
    lost = f"replicate % 2 = 1 OR stage = {last}"  # all of the last stage, if there are several
    for place in expected:
        assert forget_runs(copy / place, lost, events="kind NOT IN ('study', 'vectorize narrowed')") > 0
    status, output = call(study.main, "report", copy)
    assert (status, "not finished" in output) == (2, True)
    status, output = call(study.main, *words, "--folder", copy, *devices)
    assert status == 0, output
    assert rows_of_all(copy, journal_rows) == expected
    assert winners(copy, timed) == winners(folder, timed)


def test_a_finished_study_is_drawn_again_without_a_run(finished, copy, no_training):
    study, folder, words, output = finished
    for path in (copy / "winners.json", copy / "report.html", *(copy / "figures").iterdir()):
        path.unlink()
    (copy / ".winners.json.partial").write_text('{"format": "stee')  # as a kill leaves it
    with painting():
        status, drawn = call(study.main, "report", copy)
    assert status == 0
    assert drawn.replace(str(copy), str(folder)) in output
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        assert (copy / path.relative_to(folder)).read_bytes() == path.read_bytes(), path
    status, drawn = call(study.main, *words, "--folder", copy)
    assert status == 0, drawn
    for path in (path for path in files if path.suffix not in (".png", ".html")):  # without the pictures
        assert (copy / path.relative_to(folder)).read_bytes() == path.read_bytes(), path


def test_another_study_in_the_folder_is_refused_with_the_difference(finished, copy, journal_rows):
    study, folder, words, _ = finished
    status, output = call(study.main, *words, "--seed", 7, "--folder", copy)
    assert status == 2
    assert "seed: 0 there, 7 asked for" in unwrapped(output)
    assert journal_rows(copy) == journal_rows(folder)


def test_terminal_report_and_winners_say_the_same(finished, copy):
    study, folder, _, output = finished
    report, content = (folder / "report.html").read_text(), json.loads((folder / "winners.json").read_text())
    findings = study.present(study.report(copy))
    words = set(output.split())
    assert content["verdict"] == findings.verdict
    assert findings.verdict in " ".join(output.split())
    cells = re.findall(r"<td>(.*?)</td>", report)
    for table in findings.tables:
        assert not table.key or content[table.key] == json.loads(json.dumps(table.json()))
        shown = [html.escape(cell) for row in table.cells("report") for cell in row]
        assert not shown or any(cells[k : k + len(shown)] == shown for k in range(len(cells)))
        whole = [not column.wrapped for column in table.shown("terminal")]  # others may be cut within a word
        printed = [itertools.compress(cells, whole) for cells in table.cells("terminal")]
        assert words >= {word for cell in itertools.chain.from_iterable(printed) for word in cell.split()}
    assert findings.setting in " ".join(output.split())
    assert all(note in " ".join(output.split()) for note in findings.notes)


def test_the_report_shows_the_figures_and_refers_to_nothing_outside_itself(finished):
    report, embedded = (finished.folder / "report.html").read_text(), r"src='data:image/png;base64,([^']*)'"
    figures = {path.stem: path.read_bytes() for path in (finished.folder / "figures").iterdir()}
    pictures = dict(re.findall(rf"<img alt='([^']*)' {embedded}", report))
    assert {name: base64.b64decode(picture, validate=True) for name, picture in pictures.items()} == figures
    assert figures
    for figure in figures.values():
        pixels = matplotlib.image.imread(io.BytesIO(figure))
        assert 400 <= pixels.shape[1] <= 1600
        assert len(np.unique(pixels[..., 0])) > 20  # something is drawn
    text = re.sub(embedded, "", report)
    assert not re.search(r"<(script|link|iframe|object|a|base)\b|http|url\(|@import|src|href|action=", text)


def test_the_folder_holds_what_the_design_lists(finished):
    names = {entry.name for entry in finished.folder.iterdir()}
    seal, searches = "journal.sqlite.sha256", {"settings", "checkpoints"}
    assert names - searches == {
        "config.json",
        "journal.sqlite",
        seal,
        "winners.json",
        "report.html",
        "figures",
    }


def test_the_config_and_the_runs_are_those_asked_for(finished):
    study, folder, words, _ = finished
    line, content = typed(study, list(words)), json.loads((folder / "config.json").read_text())
    assert content.pop("study") == study.name
    assert content.pop("devices") in ("one", "several")
    assert content == json.loads(json.dumps(dict(line.values)))
    assert list(content) == [field.name for field in dataclasses.fields(line.kind)]
    cells = re.findall(r"<td>(.*?)</td>", (folder / "report.html").read_text())
    for name, value in content.items():
        shown = html.escape(str(tuple(value) if isinstance(value, list) else value))
        assert (name, shown) in itertools.pairwise(cells)
    ((made,),) = asked(folder, "SELECT COUNT(*) FROM trials")
    checked = line.values.get("checked", 0)  # checks go on for as long as they find something better
    assert checked or made <= 1.5 * line.kind(**line.values).planned_runs
    labels = asked(folder, "SELECT DISTINCT label FROM trials")
    assert all(isinstance(json.loads(text), dict) for (text,) in labels)


@pytest.mark.xdist_group("toy")
def test_another_seed_makes_other_runs(finished_studies, tmp_path, journal_rows):
    study, folder, words, _ = finished_studies("toy")
    assert call(study.main, *words, "--folder", tmp_path / "study", "--seed", 1)[0] == 0
    first, other = journal_rows(folder), journal_rows(tmp_path / "study")
    assert first.keys() == other.keys()
    assert not {row["score"] for row in first.values()} & {row["score"] for row in other.values()}


@pytest.mark.parametrize("name", sorted({study.study for study in STUDIES.values()}))
def test_help_explains_every_option(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # of boxes side by side, the lines would mix
    study = load(name)
    for preset, config in study.presets.items():
        with pytest.raises(SystemExit) as end:
            study.main([preset, "--help"])
        assert not end.value.code
        text = " ".join(capsys.readouterr().out.replace("│", " ").split())
        for field, explanation in explanations(type(config)).items():
            assert f"--{field.replace('_', '-')}" in text, field
            assert explanation in text, field


@pytest.mark.parametrize("name", sorted({study.study for study in STUDIES.values()}))
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--no-such-option", "1"], "no-such-option"),
        (["--seed", "-1"], "seed: must be in [0, 2^32), got -1"),
        (["--seed", "1", "--seed", "2"], "seed: typed 2 times"),
        (["--confidence", "2"], "confidence: must be between 0 and 1, got 2"),
        (["--devices", "99"], "devices: "),
        (["--folder", ""], "a folder has a name"),
        (["report"], "folder"),
        (["report", ""], "a folder has a name"),
        (["report", "/dev/null/nowhere"], "/dev/null/nowhere"),
    ],
)
def test_what_is_wrong_is_told(name, words, told):
    status, output = call(load(name).main, *words)
    assert status == 2
    assert told in unwrapped(output)
