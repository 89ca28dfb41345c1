"""Checkpoints of a computation under way: the newest that is sound is gone on from."""

import contextlib
import itertools
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from experiments.study.options.errors import StudyError
from experiments.study.storage.folder import PARTIAL
from experiments.study.storage.seal import DamagedFolder, check_seal, read_facts, seal
from workloads.disk import sync

FORMAT = 1
KEPT = 2  # the newest, and the one before for the case that it is damaged
STATE = "state"  # what Orbax writes


class Checkpoint(NamedTuple):
    """A state, and how many steps were done."""

    step: int
    saved: PyTree


class Checkpoints:
    """The checkpoints in a folder, numbered in the order in which they were saved.

    Each is there in full or not at all, whenever the process is killed. One process saves and clears; any
    may read.
    """

    def __init__(self, path: Path):
        self._path = path.absolute()  # Orbax takes no other, and the process may change its folder
        self._damaged = set()  # the numbers of those that were found to be

    def save(self, step: int, identity: str, saved: PyTree) -> None:
        """Write a checkpoint, then delete all older ones but one, and those that were found damaged.

        Args:
          step: how many steps are done.
          identity: what the state belongs to.
          saved: a pytree of NumPy arrays.

        Raises StudyError where it cannot be written; the older ones are as they were.
        """
        number = self._free_number()
        partial = self._partial(number)
        try:
            self._path.mkdir(exist_ok=True)  # not its parents: a study's folder that was deleted stays so
            self._remove_leftovers()
            partial.mkdir()
            facts = {"format": FORMAT, "number": number, "step": step, "identity": identity}
            _write(partial, facts, saved)
            partial.rename(self._folder(number))
            sync(self._path)
        except (OSError, ValueError) as error:  # Orbax reports what a file system refuses as either
            shutil.rmtree(partial, ignore_errors=True)
            raise StudyError(f"{self._path}: a checkpoint cannot be written: {_reason(error)}.") from None
        numbers = self._numbers()
        kept = [number for number in numbers if number not in self._damaged][-KEPT:]
        self._delete([number for number in numbers if number not in kept])

    def newest(self, identity: str, shapes: PyTree) -> tuple[Checkpoint | None, list[str]]:
        """The newest sound checkpoint of that identity, if any, and what is damaged of those newer than it.

        Args:
          identity: as it was saved with.
          shapes: a pytree of `jax.ShapeDtypeStruct`: that of the state. One of other names, shapes or dtypes
            belongs to something else.
        """
        problems = []
        for number in reversed(self._numbers()):
            folder = self._folder(number)
            try:
                facts = read_facts(folder)
                _check_facts(folder, facts, number)
                if (facts["identity"], facts["leaves"]) == (identity, _leaves(shapes)):
                    check_seal(folder)
                    return Checkpoint(facts["step"], _read(folder, shapes)), problems
            except DamagedFolder as damage:
                self._damaged.add(number)
                problems.append(f"The checkpoint {folder.name} is damaged: {damage}.")
        return None, problems

    def newest_identity(self) -> str | None:
        """What the newest checkpoint belongs to whose manifest can be read; None without such."""
        for number in reversed(self._numbers()):
            with contextlib.suppress(DamagedFolder):
                return read_facts(self._folder(number))["identity"]
        return None

    def clear(self) -> None:
        """Delete all checkpoints. Raises StudyError where they cannot be deleted."""
        self._delete(self._numbers())

    def _numbers(self) -> list[int]:
        """Of all that are complete, ascending; what is no checkpoint's folder is left alone."""
        names = {entry.name for entry in self._path.glob("*") if entry.is_dir() and not entry.is_symlink()}
        numbers = sorted(int(name) for name in names if name.isdecimal())
        return [number for number in numbers if self._folder(number).name in names]

    def _free_number(self) -> int:
        """Above all complete ones, and of a name that nothing has."""
        first = max(self._numbers(), default=0) + 1
        return next(n for n in itertools.count(first) if not os.path.lexists(self._folder(n)))

    def _folder(self, number: int) -> Path:
        return self._path / f"{number:06d}"

    def _partial(self, number: int) -> Path:
        return self._path / f".{number:06d}{PARTIAL}"

    def _delete(self, numbers: Sequence[int]) -> None:
        """Under another name first: half a checkpoint is none."""
        try:
            for number in numbers:
                self._folder(number).rename(self._partial(number))
            self._remove_leftovers()
        except OSError as error:
            raise StudyError(f"{self._path}: a checkpoint cannot be deleted: {_reason(error)}.") from None

    def _remove_leftovers(self) -> None:
        """Of writes and deletions that were killed."""
        for leftover in self._path.glob(f".*{PARTIAL}"):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()


def _check_facts(folder: Path, facts: dict[str, Any], number: int) -> None:
    if facts.get("format") != FORMAT:
        raise DamagedFolder(f"{folder} has format {facts.get('format')}; this version reads format {FORMAT}")
    if facts["number"] != number:
        raise DamagedFolder(f"{folder} was saved as number {facts['number']}")


def _write(folder: Path, facts: dict[str, Any], saved: PyTree) -> None:
    # Orbax stores no array without elements, and needs none to restore it
    arrays = {name: leaf for name, leaf in _named(saved).items() if leaf.size}
    with _orbax() as checkpointer:
        checkpointer.save(folder / STATE, arrays)
    seal(folder, {**facts, "leaves": _leaves(saved)})


def _read(folder: Path, shapes: PyTree) -> PyTree:
    """Raises DamagedFolder where Orbax cannot read what it wrote."""
    expected = _named(shapes)
    as_numpy = {
        name: ocp.RestoreArgs(restore_type=np.ndarray) for name, leaf in expected.items() if leaf.size
    }
    try:
        with _orbax() as checkpointer:
            arrays = checkpointer.restore(folder / STATE, restore_args=as_numpy)
        leaves = [
            arrays[name] if leaf.size else np.zeros(leaf.shape, leaf.dtype) for name, leaf in expected.items()
        ]
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFolder(f"{folder / STATE} cannot be read by Orbax: {_reason(error)}") from None
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


@contextlib.contextmanager
def _orbax() -> Iterator[ocp.Checkpointer]:
    """Orbax without the other processes of the runtime, for which it would wait, and without its log: what
    fails is raised.

    By its older interface: in 0.12 `save` of the newer one waits for all processes, whatever its options.
    """
    process, log = jax.process_index(), logging.getLogger("absl")
    options = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process{process}"
    )
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options)
        with ocp.Checkpointer(handler, multiprocessing_options=options) as checkpointer:
            yield checkpointer
    finally:
        log.setLevel(level)


def _named(tree: PyTree) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _leaves(tree: PyTree) -> dict[str, list]:
    """The shape and dtype of every leaf, as JSON holds them."""
    return {name: [list(leaf.shape), np.dtype(leaf.dtype).name] for name, leaf in _named(tree).items()}


def _reason(error: Exception) -> str:
    """The operating system's; Orbax's errors hold its number among much else."""
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(number[1])) if number else getattr(error, "strerror", None) or str(error)
