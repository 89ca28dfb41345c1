"""What every study promises, asked of each in its small form: it resumes, is drawn again, tells the same
everywhere, and says what is wrong. One finished folder of each serves all tests."""

import html
import json
import re
import shutil

import pytest

from experiments.endurance.small_studies import STUDIES
from experiments.studies import load
from experiments.study.command import typed
from experiments.study.options.groups import explanations
from tests.experiments.journals import asked, forget_runs
from tests.experiments.small_study import call

FORMS = [*STUDIES, "toy"]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in FORMS])
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


@pytest.mark.bits
def test_lost_runs_come_back_bit_for_bit_on_other_devices(finished, copy, journal_rows):
    study, folder, words, _ = finished
    timed = study.timed_keys(folder)
    last = "(SELECT MAX(stage) FROM trials WHERE stage > (SELECT MIN(stage) FROM trials))"
    lost = f"replicate % 2 = 1 OR stage = {last}"  # all of the last stage, if there are several
    assert forget_runs(copy, lost, events="kind NOT IN ('study', 'vectorize narrowed')") > 0
    status, output = call(study.main, "report", copy)
    assert (status, "not finished" in output) == (2, True)
    status, output = call(study.main, *words, "--folder", copy, "--devices", 3)
    assert status == 0, output
    assert journal_rows(copy) == journal_rows(folder)
    assert winners(copy, timed) == winners(folder, timed)


def test_a_finished_study_is_drawn_again_without_a_run(finished, copy, no_training):
    study, folder, _, output = finished
    for path in (copy / "winners.json", copy / "report.html", *(copy / "figures").iterdir()):
        path.unlink()
    status, drawn = call(study.main, "report", copy)
    assert status == 0
    assert drawn.replace(str(copy), str(folder)) in output
    for path in (folder / "winners.json", folder / "report.html", *(folder / "figures").iterdir()):
        assert (copy / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_terminal_report_and_winners_say_the_same(finished):
    study, folder, _, output = finished
    report, content = (folder / "report.html").read_text(), json.loads((folder / "winners.json").read_text())
    findings = study.present(study.report(folder))
    words = set(output.split())
    assert content["verdict"] == findings.verdict
    assert findings.verdict in " ".join(output.split())
    cells = re.findall(r"<td>(.*?)</td>", report)
    for table in findings.tables:
        assert not table.key or content[table.key] == json.loads(json.dumps(table.json()))
        shown = [html.escape(cell) for row in table.cells("report") for cell in row]
        assert not shown or any(cells[k : k + len(shown)] == shown for k in range(len(cells)))
        assert words >= {word for row in table.cells("terminal") for cell in row for word in cell.split()}
    assert findings.setting in output
    assert all(note in " ".join(output.split()) for note in findings.notes)
    pictures = re.findall(r"<img alt='([^']*)' src='data:image/png;base64,", report)
    assert sorted(pictures) == sorted(path.stem for path in (folder / "figures").iterdir())
    assert pictures
    assert "<script" not in report
    assert "http" not in report


def test_the_config_and_the_runs_are_those_asked_for(finished):
    study, folder, words, _ = finished
    line, content = typed(study, words), json.loads((folder / "config.json").read_text())
    assert content.pop("study") == study.name
    assert content.pop("devices") in ("one", "several")
    assert content == json.loads(json.dumps(dict(line.values)))
    ((made,),) = asked(folder, "SELECT COUNT(*) FROM trials")
    assert made <= 1.5 * line.kind(**line.values).planned_runs
    labels = asked(folder, "SELECT DISTINCT label FROM trials")
    assert all(isinstance(json.loads(text), dict) for (text,) in labels)


def test_another_seed_makes_other_runs(finished_studies, tmp_path, journal_rows):
    study, folder, words, _ = finished_studies("toy")
    assert call(study.main, *words, "--folder", tmp_path / "study", "--seed", 1)[0] == 0
    first, other = journal_rows(folder), journal_rows(tmp_path / "study")
    assert first.keys() == other.keys()
    assert not {row["score"] for row in first.values()} & {row["score"] for row in other.values()}


@pytest.mark.parametrize("name", sorted({study.study for study in STUDIES.values()}))
def test_help_explains_every_option(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
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
        (["--folder", ""], "folder"),
        (["report"], "folder"),
        (["report", "/dev/null/nowhere"], "/dev/null/nowhere"),
    ],
)
def test_what_is_wrong_is_told(name, words, told, capsys):
    try:
        status = load(name).main(words)
    except SystemExit as end:
        status = end.code
    output = capsys.readouterr()
    assert status == 2
    assert told in " ".join((output.out + output.err).replace("│", " ").split())
