"""Checkpoints that are damaged, cut short by a kill, or refused by the disk: found and named, the sound one
before them restored."""

import errno
import os
import random
import resource
import shutil
import time

import pytest

from experiments.study.options.errors import StudyError
from experiments.study.storage.checkpoints import Checkpoints
from tests.experiments.processes import started
from tests.experiments.saved_states import newest_step, saved_at, state_at

CORRUPTIONS = 300


def test_without_the_newest_the_one_before_is_restored_and_the_damage_named(tmp_path):
    checkpoints = saved_at(tmp_path, 1, 2)
    largest = max((tmp_path / "000002").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 16
    largest.write_bytes(content)
    step, problems = newest_step(checkpoints)
    assert step == 1
    assert problems == [f"The checkpoint 000002 is damaged: {largest} has other bytes than were written."]
    checkpoints.save(3, "chunk", state_at(3))
    assert newest_step(checkpoints) == (3, [])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["000001", "000003"]  # the sound ones


def flip(path, draw):
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path, draw):
    os.truncate(path, draw.randrange(path.stat().st_size))


def lengthen(path, draw):
    with path.open("ab") as file:
        file.write(draw.randbytes(draw.randint(1, 9)))


def blank(path, draw):
    """Zeros in place of a block that held something else."""
    content = path.read_bytes()
    start = draw.randrange(len(content))
    end = draw.randint(start + 1, len(content))
    blanked = content[:start] + bytes(end - start) + content[end:]
    path.write_bytes(blanked if blanked != content else bytes(len(content)))


def remove(path, draw):
    path.unlink()


def add(path, draw):
    path.with_name(f"{path.name}{draw.randrange(10)}").write_bytes(draw.randbytes(draw.randrange(20)))


def swap(path, draw):
    """With another file of the checkpoint that holds something else."""
    content = path.read_bytes()
    folder = next(parent for parent in path.parents if parent.name == "000001")
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.read_bytes() != content)
    other = draw.choice(files)
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def make_folder(path, draw):
    path.unlink()
    path.mkdir()


def test_every_corruption_is_found_and_named(tmp_path):
    sound, copy = tmp_path / "sound", tmp_path / "copy"
    saved_at(sound, 5)
    draw = random.Random(0)
    of_any_file = [remove, add, make_folder, lengthen]
    of_content = [flip, cut, blank, swap]
    for number in range(CORRUPTIONS):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(sound, copy)
        path = draw.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
        corrupt = draw.choice(of_any_file + of_content * (path.stat().st_size > 0))
        corrupt(path, draw)
        step, problems = newest_step(Checkpoints(copy))
        described = f"{number}: {corrupt.__name__} of {path.relative_to(copy)}"
        assert step is None, described
        assert len(problems) == 1, described
        assert problems[0].startswith(f"The checkpoint 000001 is damaged: {copy}/000001"), described


def test_a_renamed_checkpoint_and_one_of_another_format_are_named(tmp_path, monkeypatch):
    checkpoints = saved_at(tmp_path, 1, 2)
    (tmp_path / "000001").rename(tmp_path / "000007")
    assert newest_step(checkpoints) == (
        2,
        [f"The checkpoint 000007 is damaged: {tmp_path}/000007 was saved as number 1."],
    )
    monkeypatch.setattr("experiments.study.storage.checkpoints.FORMAT", 2)
    assert "000002 has format 1; this version reads format 2" in newest_step(checkpoints)[1][1]


class Killed(BaseException):
    """The end of the process, at one of its calls to the operating system."""


@pytest.fixture
def killed_at(monkeypatch):
    """Ends the process before its n-th call that changes the disk; returns whether it came so far."""

    def run(call, doomed):
        calls = 0

        def dying(function):
            def instead(*arguments, **options):
                nonlocal calls
                calls += 1
                if calls == doomed:
                    raise Killed
                return function(*arguments, **options)

            return instead

        with monkeypatch.context() as patch:
            for name in ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir"):
                patch.setattr(os, name, dying(getattr(os, name)))
            try:
                call()
            except Killed:
                return True
        return False

    return run


def test_killed_at_any_call_the_newest_complete_one_is_there(tmp_path, killed_at):
    saved_at(tmp_path / "sound", 1, 2)
    steps = []
    for doomed in range(1, 500):
        folder = tmp_path / str(doomed)
        shutil.copytree(tmp_path / "sound", folder)
        if not killed_at(lambda folder=folder: saved_at(folder, 3), doomed):
            break
        step, problems = newest_step(Checkpoints(folder))
        assert (problems, newest_step(Checkpoints(folder), "another")) == ([], (None, []))
        steps.append(step)
        checkpoints_kept = saved_at(folder, 4)
        assert newest_step(checkpoints_kept) == (4, [])
        assert len(list(folder.iterdir())) == 2  # no leftovers
    assert len(steps) > 20
    assert steps == sorted(steps)
    assert set(steps) == {2, 3}


ENDLESS = """
import sys
from pathlib import Path
from tests.experiments import saved_states
step = saved_states.newest_step(saved_states.Checkpoints(Path(sys.argv[1])))[0] or 0
while True:
    step += 1
    saved_states.saved_at(Path(sys.argv[1]), step)
    print(step, flush=True)
"""


def test_what_was_reported_as_saved_outlives_sigkill(tmp_path):
    draw = random.Random(1)
    for _ in range(2):
        process = started(ENDLESS, tmp_path / "checkpoints")
        reported = [int(process.stdout.readline()) for _ in range(draw.randint(1, 4))]
        time.sleep(draw.uniform(0, 0.2))
        assert process.process.is_alive()
        process.killed()
        _, later, _ = process.ended()
        reported += [int(line) for line in later.splitlines()]
        step, problems = newest_step(Checkpoints(tmp_path / "checkpoints"))
        assert problems == []
        assert step >= reported[-1]  # later where one is complete and was not yet reported


def test_a_full_disk_is_named_and_what_was_there_remains(tmp_path):
    checkpoints = saved_at(tmp_path, 1)
    too_much = {"weights": state_at(2)["weights"]}  # a single array: one write fails, and none after it
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(StudyError) as refused:
            checkpoints.save(2, "chunk", too_much)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(refused.value) == f"{tmp_path}: a checkpoint cannot be written: {os.strerror(errno.EFBIG)}."
    assert [entry.name for entry in tmp_path.iterdir()] == ["000001"]
    assert newest_step(checkpoints) == (1, [])


def test_a_folder_that_became_read_only_is_named_and_what_was_there_remains(tmp_path, monkeypatch):
    checkpoints = saved_at(tmp_path, 1)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    reason = os.strerror(errno.EROFS)
    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "unlink"):
            patch.setattr(os, name, refuse)
        with pytest.raises(StudyError, match=f"{tmp_path}: a checkpoint cannot be written: {reason}"):
            checkpoints.save(2, "chunk", state_at(2))
        with pytest.raises(StudyError, match=f"{tmp_path}: a checkpoint cannot be deleted: {reason}"):
            checkpoints.clear()
    assert newest_step(checkpoints) == (1, [])
