"""What a study decided is read from its journal: last bits that another processor has change nothing."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from experiments.shape_search import STUDY, Config, main
from experiments.shape_search import runs as runs_module
from experiments.study.options.errors import StudyError
from experiments.study.running.evaluation import journaled
from experiments.study.running.progress import Progress
from experiments.study.running.runs import Remembered, UnfinishedStudy
from experiments.study.showing.findings import Findings
from experiments.study.storage.folder import StudyFolder
from experiments.study.storage.journal import Journal
from schedules.search import STRATEGIES, SearchSpace, Trial
from tests.experiments.journals import forget_runs
from tests.experiments.test_evaluation import trials

pytestmark = pytest.mark.xdist_group("finished")

LAST_BITS = 1e-6


@pytest.fixture
def another_processor(monkeypatch):
    """All that is proposed differs in its last digits."""
    candidates = SearchSpace.candidates

    def otherwise(space, points, first):
        return tuple(
            dataclasses.replace(
                candidate,
                params={name: value * (1 - LAST_BITS) for name, value in candidate.params.items()},
                base_lr=candidate.base_lr * (1 - LAST_BITS),
            )
            for candidate in candidates(space, points, first)
        )

    monkeypatch.setattr(SearchSpace, "candidates", otherwise)


@pytest.mark.usefixtures("no_training", "another_processor")
def test_a_report_drawn_elsewhere_tells_the_winners_that_were_run(study_copy, finished):
    (study_copy / "winners.json").unlink()
    assert main(["report", str(study_copy)]) == 0
    for name in ("winners.json", "report.html"):
        assert (study_copy / name).read_bytes() == (finished.folder / name).read_bytes()


@pytest.mark.usefixtures("another_processor", "no_report")
def test_a_study_resumed_elsewhere_goes_on_with_what_was_asked_for(
    study_copy, finished, command_options, journal_rows
):
    lost = "stage = 'confirm' OR stage = 'select' OR replicate = 1"
    assert forget_runs(study_copy, lost, "kind = 'winners'")
    assert main([*command_options(), "--folder", str(study_copy)]) == 0
    assert journal_rows(study_copy) == journal_rows(finished.folder)
    assert (study_copy / "winners.json").read_bytes() == (finished.folder / "winners.json").read_bytes()


@pytest.mark.usefixtures("no_report")
def test_a_strategy_is_asked_only_for_what_is_not_there(
    study_copy, finished, command_options, journal_rows, monkeypatch
):
    asked = []

    def counted(name):
        def strategy(dimensions, batch):
            own = STRATEGIES[name](dimensions, batch)
            return own._replace(ask=lambda history: asked.append(len(history.scores)) or own.ask(history))

        return strategy

    monkeypatch.setattr(runs_module, "STRATEGIES", {name: counted(name) for name in STRATEGIES})
    later = "stage != 'screen' OR number >= 8"
    assert forget_runs(study_copy, later, "kind IN ('winners', 'screen from 8')")
    assert main([*command_options(), "--folder", str(study_copy)]) == 0
    assert asked == [8, 8, 8, 8]  # of each family, the baselines too, the third batch
    assert journal_rows(study_copy) == journal_rows(finished.folder)


def test_what_was_decided_is_kept_and_never_made_again(tmp_path):
    value = {"points": [[1 / 3, float(np.float32(0.1))]], "bound": math.inf}
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.once("first", lambda: value) == value
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.once("first", lambda: pytest.fail("made again")) == value
        remembered = Remembered(StudyFolder(tmp_path), journal, Config())
        assert remembered.once("first", lambda: pytest.fail("made again")) == value
        with pytest.raises(UnfinishedStudy, match="'second' is missing"):
            remembered.once("second", lambda: pytest.fail("made in a redraw"))


@pytest.mark.parametrize(
    ("found", "told"), [(2.0 * (1 + 1e-9), 2.0), (2.1, 2.1)], ids=["rounded otherwise", "another version"]
)
def test_what_differs_by_rounding_is_told_as_it_was_found_first(tmp_path, found, told):
    folder = StudyFolder(tmp_path)
    with Journal(folder.journal) as journal:
        journal.record_event("winners", {"verdict": "", "best": [{"score": 2.0, "name": "rex", "low": None}]})
        best = [{"score": found, "name": "rex", "low": None}]
        study = dataclasses.replace(STUDY, present=lambda results: Findings("", "", [], facts={"best": best}))
        study._publish(None, Config(), Remembered(folder, journal, Config()))
    assert json.loads(folder.winners.read_text())["best"][0]["score"] == told


def test_a_run_that_was_tried_with_something_else_is_refused(tmp_path):
    """As where a version of the code changed a rate that no config holds."""
    (asked,) = trials(3)
    candidate = dataclasses.replace(asked.candidate, base_lr=asked.base_lr * 1.01)
    changed = Trial(asked.stage, candidate, asked.num_steps, asked.replicate)
    progress = Progress(1, Console(file=io.StringIO()), quiet=True)
    with Journal(tmp_path / "journal.sqlite") as journal:
        run = journaled(journal, lambda chunk: [{"loss": 1.0}] * len(chunk), "loss", 4, progress)
        assert run([asked]) == {asked: 1.0}
        for evaluate in (run, Remembered(None, journal, Config()).evaluate):
            with pytest.raises(StudyError, match=f"base_lr {asked.base_lr!r} .* {changed.base_lr!r}"):
                evaluate([changed])
