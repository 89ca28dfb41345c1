"""The seal of a journal that was closed in good order: the SHA-256 of the whole file, in a file beside it.

`sha256sum --check journal.sqlite.sha256` verifies it too.
"""

import hashlib
from pathlib import Path

from experiments.study.storage.folder import write_atomically
from workloads.disk import sync


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
