"""A text as token ids in files beside it: made once, and read again as long as the text stays the same."""

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from workloads.datasets.local_files import DataFolder
from workloads.datasets.text_lines import open_binary, read_lines
from workloads.datasets.tokenizer import OPTIONS, encode, train_tokenizer
from workloads.disk import sync

SAMPLED_LINES = 200_000  # of the training text at most, evenly spread: of WikiText-103 every tenth with text
RECORD, MODEL = "record.json", "tokenizer.model"

Files = Mapping[str, Sequence[Path]]  # of each split, in order


class Counts(NamedTuple):
    """The lines of a split, empty ones too, and its words, each line's end being one."""

    lines: int
    words: int


class Survey(NamedTuple):
    """What was read of each split, and the SHA-256 checksum of each file by its `full_name`."""

    counts: Mapping[str, Counts]
    checksums: Mapping[str, str]


def full_name(path: Path) -> str:
    """The name of a file with that of its folder, which may say which version of a data set it is of."""
    return f"{path.parent.name}/{path.name}"


def tokenized_text(
    place: DataFolder,
    files: Files,
    vocabulary: int,
    check_files: Callable[[Mapping[str, str]], None],
    check_text: Callable[[Mapping[str, Counts]], None],
) -> dict[str, np.ndarray]:
    """The ids of each split as uint16, mapped into memory: from the cache in `place`, or made now.

    The vocabulary is made of the split "train". The cache is a folder "sentencepiece-VOCABULARY", with the
    model and the ids, which appears when it is complete. It is made anew when the name, size or modification
    time of a file has changed, or how ids are made, or when one of its own files is missing or has another
    checksum than when it was made.

    Args:
      check_files: takes the checksums by `full_name`, and raises where these are not the files to be read;
        called before they are.
      check_text: takes the counts of each split, and raises where this is not the text; called before
        anything is made of it.

    Raises:
      ValueError: see `read_lines` and `train_tokenizer`, or the cache cannot be written.
      ImportError: what is needed to read or to tokenise is missing.
    """
    cache = place.path / f"sentencepiece-{vocabulary}"
    made_from = _made_from(place, files, vocabulary)
    recorded = _recorded_survey(cache, made_from)
    checksums = recorded.checksums if recorded else _checksums(place, files)
    check_files(checksums)
    counts = recorded.counts if recorded else _counts(place, files)
    check_text(counts)
    if recorded is None:
        _make(cache, place, files, vocabulary, made_from, Survey(counts, checksums))
    return {split: np.memmap(_ids_path(cache, split), np.uint16, mode="r") for split in files}


def _made_from(place: DataFolder, files: Files, vocabulary: int) -> dict[str, Any]:
    """What a cache must have been made from to be used, as JSON gives it back."""

    def description(path):
        status = path.stat()
        return [str(path.relative_to(place.path)), status.st_size, status.st_mtime_ns]

    described = {split: [description(path) for path in paths] for split, paths in files.items()}
    tokenizer = {**OPTIONS, "vocab_size": vocabulary, "sampled_lines": SAMPLED_LINES}
    return {"tokenizer": tokenizer, "files": described}


def _checksums(place: DataFolder, files: Files) -> dict[str, str]:
    checksums = {}
    for path in itertools.chain.from_iterable(files.values()):
        with open_binary(place, path) as file:
            checksums[full_name(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return checksums


def _counts(place: DataFolder, files: Files) -> dict[str, Counts]:
    counts = {}
    for split, paths in files.items():
        lines = words = 0
        for line in _lines(place, files, split):
            lines, words = lines + 1, words + len(line.split()) + 1
        if not lines:
            raise place.problem(paths[0], "lines of text", "none")
        counts[split] = Counts(lines, words)
    return counts


def _make(
    cache: Path, place: DataFolder, files: Files, vocabulary: int, made_from: dict[str, Any], survey: Survey
) -> None:
    """Make the cache under another name, and name it when it is complete."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{cache.name}-", dir=place.path) as folder:
            partial = Path(folder) / cache.name
            partial.mkdir()
            model = _train(place, files, vocabulary, survey)
            checksums = {MODEL: _write(partial / MODEL, [model])}
            for split in files:
                path = _ids_path(partial, split)
                checksums[path.name] = _write(path, encode(model, _lines(place, files, split)))
            content = {"made_from": made_from, "checksums": checksums, "survey": survey._asdict()}
            record = {"content": content, "checksum": _content_checksum(content)}
            _write(partial / RECORD, [json.dumps(record, indent=2).encode()])
            sync(partial)
            if _recorded_survey(cache, made_from) is None:  # else another process was faster
                shutil.rmtree(cache, ignore_errors=True)
                partial.rename(cache)
                sync(place.path)
    except OSError as error:
        raise place.problem(
            place.path, "a folder in which to keep the token ids", f"that writing fails: {error}"
        ) from error


def _train(place: DataFolder, files: Files, vocabulary: int, survey: Survey) -> bytes:
    stride = -(-survey.counts["train"].lines // SAMPLED_LINES)
    sample = itertools.islice(filter(None, _lines(place, files, "train")), 0, None, stride)
    try:
        return train_tokenizer(sample, vocabulary)
    except ValueError as error:
        expected = f"text enough for {vocabulary:,} tokens"
        raise place.problem(files["train"][0], expected, f"that {error}") from error


def _lines(place: DataFolder, files: Files, split: str) -> Iterator[str]:
    return itertools.chain.from_iterable(read_lines(place, path) for path in files[split])


def _ids_path(cache: Path, split: str) -> Path:
    return cache / f"{split}.uint16"


def _write(path: Path, pieces: Iterable[bytes | np.ndarray]) -> str:
    """Write a file through to the disk, since a folder may otherwise outlive its content; its checksum."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _recorded_survey(cache: Path, made_from: dict[str, Any]) -> Survey | None:
    """What was read when the cache was made; None where it is of other files or options, or damaged."""
    try:
        with _opened(cache / RECORD) as file:
            record = json.load(file)
        content = record["content"]
        if record["checksum"] != _content_checksum(content) or content["made_from"] != made_from:
            return None
        for name, checksum in content["checksums"].items():
            with _opened(cache / name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != checksum:
                    return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    counts = {split: Counts(*found) for split, found in content["survey"]["counts"].items()}
    return Survey(counts, content["survey"]["checksums"])


def _content_checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():  # to open a pipe would wait for its writer
        raise FileNotFoundError(path)
    return path.open("rb")
