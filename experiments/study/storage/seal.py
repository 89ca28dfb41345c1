"""Seals, by which any change is found: of a journal that was closed in good order, and of a whole folder.

A file's is its SHA-256 in a file beside it, which `sha256sum --check journal.sqlite.sha256` verifies too; a
folder's is a manifest with the size and SHA-256 of every file, and a digest of itself.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.study.options.errors import StudyError
from experiments.study.storage.folder import write_atomically
from workloads.disk import sync

MANIFEST = "manifest.json"


def set_seal(path: Path) -> None:
    """Seal a file as it is now."""
    write_atomically(_seal_of(path), _line(path))


def is_sealed(path: Path) -> bool:
    """Whether there is a seal, broken or not."""
    return _seal_of(path).exists()


def seal_holds(path: Path) -> bool:
    """Whether a sealed file is still the one that was sealed."""
    seal = _seal_of(path)
    return seal.is_file() and seal.read_bytes() == _line(path).encode()  # a pipe would be waited for


def remove_seal(path: Path) -> None:
    """Let a file be changed; a power cut does not bring the seal back."""
    if is_sealed(path):
        _seal_of(path).unlink()
        sync(path.parent)


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _line(path: Path) -> str:
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"


class DamagedFolder(StudyError):
    """A sealed folder is not as it was sealed: the message says where and how."""


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest of all files in the folder, and put everything beyond the reach of a power cut.

    Args:
      facts: JSON values that the manifest holds too.
    """
    body = json.dumps({"facts": facts, "files": {name: _entry(folder / name) for name in _files(folder)}})
    for path in (*folder.rglob("*"), folder):
        sync(path)
    write_atomically(folder / MANIFEST, _with_digest(body.encode()))
    sync(folder)


def read_facts(folder: Path) -> dict[str, Any]:
    """What a folder was sealed with; its other files are not looked at.

    Raises DamagedFolder where the manifest is not as it was written.
    """
    return _manifest(folder)["facts"]


def check_seal(folder: Path) -> None:
    """Raise DamagedFolder unless the folder holds the very files that it was sealed with."""
    sealed, found = _manifest(folder)["files"], _files(folder)
    if missing := sealed.keys() - found:
        raise DamagedFolder(f"{folder / min(missing)} is missing")
    if extra := found - sealed.keys() - {MANIFEST}:
        raise DamagedFolder(f"{folder / min(extra)} is not in the manifest")
    for name, entry in sealed.items():
        try:
            entry_found = _entry(folder / name)
        except OSError as error:
            raise DamagedFolder(f"{folder / name} cannot be read: {error.strerror}") from None
        if entry_found["size"] != entry["size"]:
            raise DamagedFolder(f"{folder / name} has {entry_found['size']} bytes of {entry['size']}")
        if entry_found != entry:
            raise DamagedFolder(f"{folder / name} has other bytes than were written")


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedFolder(f"{path} cannot be read: {error.strerror}") from None
    body = content.partition(b"\n")[0]
    if content != _with_digest(body):
        raise DamagedFolder(f"{path} has other bytes than were written")
    return json.loads(body)


def _with_digest(body: bytes) -> bytes:
    return b"%s\n%s\n" % (body, hashlib.sha256(body).hexdigest().encode())


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _entry(path: Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": file.tell(), "sha256": digest}
