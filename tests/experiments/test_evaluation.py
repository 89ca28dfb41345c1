"""Evaluation with a journal: what is known is remembered, the rest run in chunks."""

import io
import math

import pytest
from rich.console import Console

from experiments.study.running.evaluation import journaled
from experiments.study.running.progress import Progress
from experiments.study.running.runs import Remembered, UnfinishedStudy
from experiments.study.storage.journal import Journal
from schedules import FAMILIES
from schedules.search import Candidate, Trial

CANDIDATE = Candidate(FAMILIES["constant"], 4, {"warmup": 0.25}, base_lr=0.5)


def trials(*replicates, stage="screen"):
    return [Trial(stage, CANDIDATE, 20, replicate) for replicate in replicates]


class Runner:
    """Runs nothing: a trial's loss is ten times its replicate's number, replicate 13 diverges."""

    def __init__(self, fail_at=None):
        self.chunks, self.fail_at = [], fail_at

    def __call__(self, chunk):
        if len(self.chunks) == self.fail_at:
            raise KeyboardInterrupt
        self.chunks.append([trial.replicate for trial in chunk])
        return [
            {"train_loss": math.nan if trial.replicate == 13 else 10.0 * trial.replicate, "other": 1.0}
            for trial in chunk
        ]


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def evaluate(journal, runner, asked, chunk_runs=4):
    progress = Progress(100, Console(file=io.StringIO()), quiet=True)
    scores = journaled(journal, runner, "train_loss", chunk_runs, progress)(asked)
    return {trial.replicate: score for trial, score in scores.items()}


def test_all_is_run_in_the_order_asked_in_chunks_of_the_size_that_was_set(journal):
    runner = Runner()
    scores = evaluate(journal, runner, trials(*range(10)))
    assert runner.chunks == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert scores == {replicate: 10.0 * replicate for replicate in range(10)}
    assert journal.scores() == {
        ("screen", "constant", 4, '{"num_steps": 20}', k): 10.0 * k for k in range(10)
    }


def test_only_what_is_missing_is_run(journal):
    evaluate(journal, Runner(), trials(1, 2, 5))
    runner = Runner()
    scores = evaluate(journal, runner, trials(*range(8)))
    assert runner.chunks == [[0, 3, 4, 6], [7]]
    assert scores == {replicate: 10.0 * replicate for replicate in range(8)}
    again = Runner()
    assert evaluate(journal, again, trials(*range(8))) == scores
    assert again.chunks == []


def test_the_same_replicate_of_another_stage_is_another_run(journal):
    evaluate(journal, Runner(), trials(1, 2))
    runner = Runner()
    evaluate(journal, runner, trials(2, 3, stage="confirm"))
    assert runner.chunks == [[2, 3]]


def test_a_run_without_a_finite_metric_scores_infinity(journal):
    assert evaluate(journal, Runner(), trials(12, 13)) == {12: 120.0, 13: math.inf}
    assert journal.counts() == {"finished": 1, "diverged": 1}


def test_finished_chunks_outlive_an_interruption(journal):
    with pytest.raises(KeyboardInterrupt):
        evaluate(journal, Runner(fail_at=2), trials(*range(11)))
    assert sorted(replicate for *_, replicate in journal.scores()) == list(range(8))
    runner = Runner()
    evaluate(journal, runner, trials(*range(11)))
    assert runner.chunks == [[8, 9, 10]]


def test_memory_alone_gives_scores_or_says_what_is_missing(journal):
    evaluate(journal, Runner(), trials(1, 13))
    remembered = Remembered(None, journal, None)
    assert list(remembered.evaluate(trials(1, 13)).values()) == [10.0, math.inf]
    with pytest.raises(UnfinishedStudy, match="2 runs of the stage 'screen'"):
        remembered.evaluate(trials(1, 2, 3))


def steps_of_sqlite(journal, call):
    """How many instructions SQLite's virtual machine runs in a call."""
    counted = []
    journal._connection.set_progress_handler(lambda: counted.append(1), 1)
    call()
    journal._connection.set_progress_handler(None, 1)
    return len(counted)


def test_a_chunk_asks_the_journal_as_little_after_thousands_of_runs_as_after_none(journal):
    def next_chunk(first):
        return lambda: evaluate(journal, Runner(), trials(*range(first, first + 64)), chunk_runs=64)

    early = steps_of_sqlite(journal, next_chunk(0))
    evaluate(journal, Runner(), trials(*range(64, 4_000)), chunk_runs=1_000)
    late = steps_of_sqlite(journal, next_chunk(4_000))
    assert early > 64
    assert late < 1.25 * early  # reading the 4,000 would take some 40,000 more
