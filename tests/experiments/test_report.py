"""The report: one file that needs no other, drawn again from the journal alone."""

import base64
import html
import io
import json
import re
import struct
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest

from experiments.shape_search import main, redraw
from experiments.study.options.errors import StudyError
from tests.experiments.journals import forget_runs

FAMILIES = ("rex", "two_point_linear", "cosine", "constant")


class Page(HTMLParser):
    """The tags, the cells and the text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    @property
    def images(self):
        return {found["alt"]: found["src"] for tag, found in self.tags if tag == "img"}


@pytest.fixture(scope="module")
def page(finished):
    return Page(finished.folder / "report.html")


def png_of(source):
    kind, _, data = source.partition(",")
    assert kind == "data:image/png;base64"
    return base64.b64decode(data, validate=True)


def test_the_report_refers_to_nothing_outside_itself(finished, page):
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "a", "base"} == set()
    for _, attributes in page.tags:
        assert set(attributes) & {"href", "srcset", "data", "action"} == set()
        assert attributes.get("src", "data:").startswith("data:")
    text = (finished.folder / "report.html").read_text()
    assert not re.search(r"https?:|url\(|@import", text)


def test_every_figure_is_a_picture_inside_the_report(finished, page):
    expected = {"winning_shapes", "near_best_shapes", "scores", "importances", "allocation", "learning_rates"}
    expected |= {f"parameters_{family}" for family in FAMILIES}
    assert set(page.images) == expected
    for name, source in page.images.items():
        png = png_of(source)
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", png[16:24])
        pixels = matplotlib.image.imread(io.BytesIO(png))
        assert pixels.shape[:2] == (height, width)
        assert 400 <= width <= 1600
        assert len(np.unique(pixels[..., 0])) > 20  # something is drawn
        assert (finished.folder / "figures" / f"{name}.png").read_bytes() == png


def test_the_report_names_the_verdict_and_every_winner(finished, page):
    content = json.loads((finished.folder / "winners.json").read_text())
    assert content["verdict"] in page.text
    for winner in content["winners"]:
        score = winner["score"]
        assert any(text.split()[0] == winner["family"] for text in page.text if text.strip())
        assert f"{score['value']:.3g} [{score['low']:.3g}, {score['high']:.3g}]" in page.text
        assert " ".join(f"{name}={value:.3g}" for name, value in winner["params"].items()) in page.text


def test_the_report_shows_the_whole_config(finished, page):
    config = json.loads((finished.folder / "config.json").read_text())
    assert config.pop("devices") == "several"  # what it was computed on, no choice of what is searched
    cells = [html.unescape(text) for text in page.text]
    for name, value in config.items():
        shown = cells[len(cells) - 1 - cells[::-1].index(name) + 1]
        assert shown == str(tuple(value) if isinstance(value, list) else value)


@pytest.mark.usefixtures("no_training")
def test_the_report_is_drawn_again_without_running_anything(study_copy, finished, journal_rows, capsys):
    (study_copy / "winners.json").unlink()
    (study_copy / "report.html").unlink()
    for figure in (study_copy / "figures").iterdir():
        figure.unlink()
    assert main(["report", str(study_copy)]) == 0
    assert journal_rows(study_copy) == journal_rows(finished.folder)
    for name in ("winners.json", "report.html", "figures/scores.png"):
        assert (study_copy / name).read_bytes() == (finished.folder / name).read_bytes()
    table = capsys.readouterr().out.replace(str(study_copy), "FOLDER")
    assert table.strip() in finished.output.replace(str(finished.folder), "FOLDER")


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("stage", ["screen", "select", "confirm"])
def test_an_unfinished_study_has_no_report_yet(study_copy, stage):
    lost = f"stage = '{stage}' AND replicate = 2 AND family = 'rex'"
    one = f"{lost} AND candidate = (SELECT MIN(candidate) FROM trials WHERE {lost})"
    missing = forget_runs(study_copy, one)
    assert missing == 1
    before = (study_copy / "report.html").read_bytes()
    with pytest.raises(StudyError, match=rf"not finished \({missing} runs of the stage '{stage}'") as error:
        redraw(study_copy)
    assert str(study_copy) in str(error.value)
    assert (study_copy / "report.html").read_bytes() == before


def test_an_earlier_version_s_study_is_told_from_a_mistake(study_copy, capsys):
    path = study_copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "checkpoint_steps": 0}))
    assert main(["report", str(study_copy)]) == 2
    told = " ".join(capsys.readouterr().out.split())
    assert f"{path} is not the config of a shape search: It was made by an earlier version" in told
    assert "keyword argument" not in told


def test_a_missing_folder_has_no_report(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert f"{tmp_path}/nowhere holds no study" in capsys.readouterr().out
    assert not (tmp_path / "nowhere").exists()


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
