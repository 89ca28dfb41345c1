"""Data sets in files on this machine: where they are looked for, and what is said when they are not right.

Nothing is downloaded. Every problem is a ValueError that names the file, what was expected and what was
found, where to get the data and where to put it.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

FILES = ("published", "any")  # insist on the published files, or take whatever is well-formed


class Published(NamedTuple):
    """A published file: the bytes of its content, uncompressed, and their MD5 checksum."""

    size: int
    md5: str


class DataFolder(NamedTuple):
    """Where the files of a data set belong, and where they come from.

    Attributes:
      name: the data set.
      source: the official page, and what else provides the files.
      path: the folder.
      insist: whether to take the published files alone.
    """

    name: str
    source: str
    path: Path
    insist: bool

    def problem(self, path: Path, expected: str, found: str) -> ValueError:
        """What to raise when a file or folder is not as expected."""
        return ValueError(
            f"{self.name}: expected {expected} in {path}, found {found}; the files come from {self.source}"
            f" and belong in {self.path}"
        )

    def read(self, path: Path) -> "DataFile":
        """The file and its content, which is not checked."""
        try:
            return DataFile(self, path, path.read_bytes())
        except OSError as error:
            raise self.problem(path, "a file that can be read", str(error.strerror)) from error


class DataFile(NamedTuple):
    """A file of a data set, in memory."""

    folder: DataFolder
    path: Path
    content: bytes

    def problem(self, expected: str, found: str) -> ValueError:
        """What to raise when the content is not as expected."""
        return self.folder.problem(self.path, expected, found)

    def check(self, published: Published) -> None:
        """Raise ValueError when the published file is insisted on and this is another one."""
        if not self.folder.insist:
            return
        otherwise = "(files='any' takes whatever is well-formed)"
        if len(self.content) != published.size:
            raise self.problem(
                f"the published {published.size:,} bytes {otherwise}", f"{len(self.content):,} bytes"
            )
        md5 = hashlib.md5(self.content, usedforsecurity=False).hexdigest()
        if md5 != published.md5:
            raise self.problem(f"the published MD5 checksum {published.md5} {otherwise}", md5)


def data_folder(name: str, source: str, folder: str | None, files: str) -> DataFolder:
    """The folder of the data set `name`: `folder`, or else NAME in the folder that the environment variable
    STEEPEST_DATA names, "data" where it is not set.

    Raises ValueError when `files` is not one of `FILES`.
    """
    if files not in FILES:
        raise ValueError(f"{name}: files must be one of {list(FILES)}, got {files!r}")
    path = Path(folder) if folder else Path(os.environ.get("STEEPEST_DATA", "data")) / name
    return DataFolder(name, source, path, insist=files == "published")
