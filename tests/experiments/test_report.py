"""The report: one file that needs no other, of a study whose config can be read."""

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

from experiments.shape_search import main

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


def test_the_report_shows_the_whole_config(finished, page):
    config = json.loads((finished.folder / "config.json").read_text())
    assert config.pop("devices") == "several"  # what it was computed on, no choice of what is searched
    assert config.pop("study") == "shape_search"
    cells = [html.unescape(text) for text in page.text]
    for name, value in config.items():
        shown = cells[len(cells) - 1 - cells[::-1].index(name) + 1]
        assert shown == str(tuple(value) if isinstance(value, list) else value)


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
