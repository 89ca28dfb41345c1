"""A study of a metric that falls below zero: it tells differences, in its figures, tables and files alike."""

import json

import numpy as np
import pytest

import workloads
from experiments.shape_search import STUDY
from experiments.shape_search.findings import near_optimality, ranking
from tests.experiments.small_study import painting

CONSTANT = 64.0  # taken off every metric, far more than any loss


@pytest.fixture(scope="module")
def study(tmp_path_factory, one_rung_config):
    config = one_rung_config(checked=1, local_replicates=3, check_replicates=12)
    workload = workloads.load(config.workload, **config.workload_options)

    def evaluate(params, data):
        return {name: value - CONSTANT for name, value in workload.evaluate(params, data).items()}

    folder = tmp_path_factory.mktemp("negative") / "study"
    with painting():
        return folder, STUDY.run(config, folder, workload._replace(evaluate=evaluate))


def test_changes_are_differences_of_the_medians_in_the_journal(study, journal_rows):
    folder, results = study
    content = json.loads((folder / "winners.json").read_text())
    scores = {}
    for (stage, family, *_), row in journal_rows(folder).items():
        if stage == "confirm":
            scores.setdefault(family, []).append(row["score"])
    assert max(map(max, scores.values())) < 0
    assert content["scale"] == "absolute"
    for entry in content["winners"]:
        for baseline, change in entry["change_against"].items():
            expected = np.median(scores[entry["family"]]) - np.median(scores[baseline])
            assert change["value"] == pytest.approx(expected, abs=1e-9)
    headings, rows = ranking(results).headings("report"), ranking(results).cells("report")
    assert [name for name in headings if name.startswith("vs ")] == [
        "vs cosine, difference",
        "vs constant, difference",
    ]
    best = {row[0].split()[0]: row for row in rows}["constant"]
    value = np.median(scores["constant"]) - np.median(scores["cosine"])
    assert best[headings.index("vs cosine, difference")].startswith(f"{value:+.3g} [")


def test_the_check_tells_differences_too(study):
    folder, results = study
    (verdict,) = results.verdicts.values()
    checked = json.loads((folder / "winners.json").read_text())["winners"][0]["near_optimality"]
    assert checked["scale"] == "absolute"
    assert checked["verdict"] == str(verdict)
    assert "in the metric's unit" in str(verdict)
    assert "%" not in str(verdict)
    table = near_optimality(results)[0].content[0]
    assert table.headings("report")[2] == "best change found, difference"
    ((_, _, change, *_),) = table.cells("report")
    assert change.startswith(f"{verdict.best.change.value:+.3g} [")
    assert abs(verdict.own.change.value) < 1  # a difference of losses of about one, not of their ratio to -63
    for name in ("found_shapes", f"sweeps_{results.best.name}", "importances"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 0
