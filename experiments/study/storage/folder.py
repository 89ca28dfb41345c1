"""A study's folder: its lock, config, journal, winners, figures and report."""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from experiments.study.options.errors import StudyError
from workloads.disk import sync

LOCK = ".lock"  # in the study's folder; what a killed process left of it holds nobody up


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a study's folder, which is made where there is none.

    The operating system lets go of the lock when the process ends, however it ends.

    Raises StudyError where another process holds it, named by its number, host and start, or where the folder
    cannot be written to.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _acquired(path)
        _write_owner(file)
    except OSError as error:
        raise StudyError(f"{folder} cannot be written to: {error.strerror or error}.") from None
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before letting go: after it, the file may be another's


def _acquired(path: Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")  # not "w": until it is locked, the content is another's
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise StudyError(_in_use(file, path.parent)) from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # its owner removed it between the opening and the locking


def _write_owner(file: TextIO) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.truncate(0)
    json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": since}, file)
    file.flush()


def _in_use(file: TextIO, folder: Path) -> str:
    file.seek(0)
    try:
        owner = json.load(file)
        return f"{folder} is in use by process {owner['pid']} on {owner['host']} (since {owner['since']})."
    except (ValueError, TypeError, KeyError, RecursionError):  # it is about to say who it is
        return f"{folder} is in use by another process."


STUDY = "study"  # the field of config.json that names the study
DEVICES = "devices"  # the field of config.json that tells whether a study has one device or several
PARTIAL = ".partial"  # what a killed process may leave behind; never read
ADVICE = {  # by field of config.json, what is allowed where it differs
    DEVICES: "A study goes on with one device, or with several of any number, as it began: see --devices.",
    STUDY: "A config without it was made by an earlier version, which still reads it.",
}


@dataclasses.dataclass(frozen=True)
class StudyFolder:
    """The paths inside a study's folder."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.sqlite"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def within(self, name: str) -> "StudyFolder":
        """That of a study that is a part of this one."""
        return StudyFolder(self.path / "settings" / name)

    @property
    def winners(self) -> Path:
        return self.path / "winners.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        return self.path / "figures"


def open_folder(path: Path, config: Mapping[str, Any]) -> StudyFolder:
    """Create a study's folder, or return to one that holds the same config.

    Raises:
      StudyError: the folder cannot be written to, or holds another study (the difference is shown) or
        something that is no study.
    """
    folder = StudyFolder(path)
    _check_writable(path)
    if folder.config.exists():
        differing = difference(read_config(folder), config, "there", "asked for")
        if differing:
            raise StudyError(
                f"{path} holds a study with another config:\n{differing}\n"
                "Choose another folder with --folder, or delete this one."
                + "".join(f"\n{line}" for line in advice(_fields_of(differing)))
            )
    elif any(entry.name != LOCK and not _is_partial(entry) for entry in path.iterdir()):
        raise StudyError(f"{path} is not empty and holds no config.json: it is not a study's folder.")
    else:
        write_atomically(folder.config, json.dumps(config, indent=2) + "\n")
    return folder


def read_config(folder: StudyFolder) -> dict[str, Any]:
    """The config of an existing study. Raises StudyError where there is none that can be read."""
    try:
        if folder.config.exists() and not folder.config.is_file():  # a pipe would be waited for
            raise StudyError(f"{folder.config} is no file.")
        content = json.loads(folder.config.read_text())
    except FileNotFoundError:
        raise StudyError(f"{folder.path} holds no study: there is no {folder.config.name}.") from None
    except (ValueError, RecursionError, OSError) as error:
        raise StudyError(f"{folder.config} cannot be read as a study's config: {error}") from None
    if not isinstance(content, dict):
        raise StudyError(f"{folder.config} is not a study's config: it holds {type(content).__name__}.")
    return content


def advice(fields: Container[str]) -> list[str]:
    """What there is to say of a config in which these fields are not as expected."""
    return [text for field, text in ADVICE.items() if field in fields]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file that is there in full or not at all, whenever the process is killed or the power cut.

    A folder that is not there, such as a study's that was deleted, is not made again.

    Raises StudyError where it cannot be written, such as on a full disk; an earlier file is left as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # there may be none, or a file where its folder should be
            partial.unlink()
        raise StudyError(f"{path} cannot be written: {error.strerror or error}.") from None


def make_folder(path: Path) -> None:
    """Make a folder inside one that is there. Raises StudyError where it cannot be made."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StudyError(f"{path} cannot be written to: {error.strerror or error}.") from None


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(PARTIAL)


def _check_writable(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise StudyError(f"{path} cannot be written to: {error.strerror or error}.") from None


def _fields_of(differing: str) -> set[str]:
    return {line.split(":")[0].strip() for line in differing.splitlines()}


def difference(old: Mapping[str, Any], new: Mapping[str, Any], old_place: str, new_place: str) -> str:
    """The fields in which a config that was read back and another one differ, a line each."""
    new = json.loads(json.dumps(new))  # tuples become the lists that were read back
    names = [*old, *(name for name in new if name not in old)]
    return "\n".join(
        f"  {name}: {old.get(name, '(absent)')!r} {old_place}, {new.get(name, '(absent)')!r} {new_place}"
        for name in names
        if old.get(name, "(absent)") != new.get(name, "(absent)")
    )
