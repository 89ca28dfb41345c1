"""Waiting for the disk."""

import contextlib
import errno
import os

import pytest

from workloads.disk import sync


@pytest.mark.parametrize(
    ("number", "folder", "passes"),
    [
        (errno.EINVAL, True, True),
        (errno.ENOTSUP, True, True),
        (errno.EIO, True, False),
        (errno.EINVAL, False, False),
    ],
)
def test_only_a_file_system_that_cannot_sync_a_folder_is_excused(
    tmp_path, monkeypatch, number, folder, passes
):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    path = tmp_path if folder else tmp_path / "file"
    path.touch()
    monkeypatch.setattr(os, "fsync", refuse)
    with contextlib.nullcontext() if passes else pytest.raises(OSError, match=os.strerror(number)):
        sync(path)
