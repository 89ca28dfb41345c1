"""Where studies would be written, and whether disk and memory have room for them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from experiments.doctor.findings import Finding, probed

NEEDED_DISK = 10**9
DISK_USE = "a journal takes about 0.5 kB a run, checkpoints and compiled programs some hundreds of MB"
NEEDED_MEMORY = 10**9
MEMORY_USE = "JAX, its compiler and a study on small data take about 0.8 GB"
MEMORY_FACTS = Path("/proc/meminfo")


def look(folder: Path) -> Iterator[Finding]:
    """Whether the folder can be written to, the free space on its disk, and the free memory."""
    place = existing_part(folder)
    yield from probed("folder", lambda: [writable(folder, place)])
    yield from probed("free disk", lambda: [free_disk(place)])
    yield from probed("free memory", lambda: [free_memory()])


def existing_part(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists: nothing is created for a look."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def writable(folder: Path, place: Path) -> Finding:
    """Whether a file can be written in `place`, where `folder` is or would be made."""
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding(
            "folder", f"{place} cannot be written to: {reason}", "choose another with --folder", stops=True
        )
    return Finding("folder", f"{folder.absolute()}" + ("" if place == folder.absolute() else ", to be made"))


def free_disk(place: Path) -> Finding:
    """The free space where studies are written."""
    free = shutil.disk_usage(place).free
    return _room("free disk", free, f" on the disk of {place}", NEEDED_DISK, DISK_USE)


def free_memory() -> Finding:
    """The memory that a process can have, what the system caches included."""
    free = available_memory()
    if free is None:
        return Finding("free memory", "not known on this system")
    return _room("free memory", free, "", NEEDED_MEMORY, MEMORY_USE)


def available_memory() -> int | None:
    """In bytes; None where the system does not tell."""
    try:
        facts = dict(line.split(":") for line in MEMORY_FACTS.read_text().splitlines())
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _room(subject: str, free: int, place: str, needed: int, use: str) -> Finding:
    found = f"{free / 1e9:,.1f} GB{place}"
    if free >= needed:
        return Finding(subject, found)
    return Finding(subject, found, f"{needed / 1e9:.0f} GB is needed: {use}", stops=True)
