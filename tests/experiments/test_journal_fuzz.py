"""A thousand damages of a journal, and what a kill in a transaction leaves: never a wrong row."""

import shutil
from collections import Counter

import pytest

from experiments.study.options.errors import StudyError
from experiments.study.storage.journal import Journal
from tests.experiments.damage import DAMAGES, damaged
from tests.experiments.journals import chunk, cut_short, everything

DAMAGED_FILES = 1000
CHUNKS = 8


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A sealed journal of 64 runs in eight chunks, and an event."""
    path = tmp_path_factory.mktemp("intact") / "journal.sqlite"
    with Journal(path) as journal:
        for number in range(CHUNKS):
            journal.record(chunk(number))
        journal.record_event("note", {"narrowed to": 2})
    return path


@pytest.fixture(scope="module")
def recorded(path):
    with Journal(path) as journal:
        return everything(journal)


def refused(path, recorded):
    """Whether a journal is refused by name; if not, it must give back what was recorded."""
    try:
        journal = Journal(path)
    except StudyError as refusal:
        if not str(refusal).startswith(f"{path} "):
            raise
        return True
    with journal:
        assert everything(journal) == recorded
    return False


def test_every_damage_of_a_sealed_journal_is_found(path, tmp_path, recorded):
    copy = tmp_path / path.name
    shutil.copy(path.with_name("journal.sqlite.sha256"), tmp_path)
    content = path.read_bytes()
    for number in range(DAMAGED_FILES):
        copy.write_bytes(damaged(content, number))
        assert refused(copy, recorded), number
    copy.write_bytes(content)
    assert not refused(copy, recorded)


def test_a_damage_of_a_journal_without_a_seal_is_found_or_without_effect(path, tmp_path, recorded):
    copy, seal = tmp_path / path.name, tmp_path / "journal.sqlite.sha256"
    content = path.read_bytes()
    outcomes = Counter()
    for number in range(DAMAGED_FILES):
        damage = damaged(content, number)
        copy.write_bytes(damage)
        outcome = refused(copy, recorded)
        outcomes[DAMAGES[number % len(DAMAGES)].__name__, outcome] += 1
        assert copy.read_bytes() == damage  # found or not, it is left alone
        seal.unlink(missing_ok=True)
    found = {
        name: outcomes[name, True] / (outcomes[name, True] + outcomes[name, False]) for name, _ in outcomes
    }
    assert {name for name, share in found.items() if share == 1} >= {"cut", "zero_page", "swap_pages"}
    assert all(share > 0.3 for share in found.values()), found
    assert sum(number for (_, outcome), number in outcomes.items() if not outcome) > 100


def test_a_journal_with_harmless_damage_takes_further_chunks(path, tmp_path, recorded):
    copy, seal = tmp_path / path.name, tmp_path / "journal.sqlite.sha256"
    content = path.read_bytes()
    accepted = 0
    for number in range(0, 50 * len(DAMAGES), len(DAMAGES)):  # flips of one bit
        copy.write_bytes(damaged(content, number))
        if not refused(copy, recorded):
            accepted += 1
            with Journal(copy) as journal:
                for later in range(CHUNKS, CHUNKS + 3):
                    journal.record(chunk(later))
            seal.unlink()
            with Journal(copy) as journal:
                rows = [row for number in range(CHUNKS + 3) for row in chunk(number)]
                assert journal.scores() == {row.identity: row.score for row in rows}
        seal.unlink(missing_ok=True)
    assert accepted > 10


@pytest.fixture(scope="module")
def hot(tmp_path_factory):
    """(a journal that a kill cut short in a transaction of many pages, what was recorded before)."""
    folder = tmp_path_factory.mktemp("hot")
    with Journal(folder / "journal.sqlite") as journal:
        for number in range(4):
            journal.record(chunk(number, size=100))
        recorded = everything(journal)
    committed = (folder / "journal.sqlite").read_bytes()
    path = cut_short(folder / "journal.sqlite", folder / "killed")
    assert path.read_bytes() != committed
    assert path.with_name("journal.sqlite-journal").stat().st_size > 4096
    return path, recorded


def test_what_a_kill_cut_short_is_rolled_back(hot, tmp_path):
    path, recorded = hot
    shutil.copytree(path.parent, tmp_path / "copy")
    assert not refused(tmp_path / "copy" / path.name, recorded)
    assert {entry.name for entry in (tmp_path / "copy").iterdir()} == {
        "journal.sqlite",
        "journal.sqlite.sha256",
    }


def test_a_last_page_that_a_power_cut_tore_is_rolled_back_too(hot, tmp_path):
    path, recorded = hot
    shutil.copytree(path.parent, tmp_path / "copy")
    with (tmp_path / "copy" / path.name).open("ab") as file:
        file.write(b"half a page" * 100)
    assert not refused(tmp_path / "copy" / path.name, recorded)


def test_damage_of_what_a_kill_left_gives_the_state_before_it_or_is_found(hot, tmp_path):
    path, recorded = hot
    copy = tmp_path / path.name
    rollback, content = path.with_name("journal.sqlite-journal").read_bytes(), path.read_bytes()
    outcomes = Counter()
    for number in range(105):
        copy.write_bytes(content)
        copy.with_name("journal.sqlite-journal").write_bytes(damaged(rollback, number))
        outcomes[refused(copy, recorded)] += 1
        copy.with_name("journal.sqlite.sha256").unlink(missing_ok=True)
    assert min(outcomes[True], outcomes[False]) > 10, outcomes
