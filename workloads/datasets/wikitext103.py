"""WikiText-103 (Merity et al., 2016, arXiv:1609.07843) in its published forms, as blocks of token ids."""

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from workloads.datasets.local_files import DataFolder, data_folder
from workloads.datasets.token_cache import Counts, full_name, tokenized_text
from workloads.datasets.tokenizer import LARGEST_VOCABULARY

SOURCE = (
    "https://huggingface.co/datasets/Salesforce/wikitext (the folder wikitext-103-raw-v1 or wikitext-103-v1)"
    " or https://wikitext.smerity.com (wikitext-103-raw-v1.zip or wikitext-103-v1.zip, unpacked)"
)
# of every form: "raw" keeps the rare words that "tokens" replaces by <unk>, one by one. Words are as fairseq
# and Transformer-XL count them, with an end of line each; lines as in the data set's card
PUBLISHED_COUNTS: Mapping[str, Counts] = MappingProxyType(
    {"train": Counts(1_801_350, 103_227_021), "validation": Counts(3_760, 217_646)}
)
# SHA-256 in the revision b08601e of the data set's repository; none is published of the text files
PUBLISHED_CHECKSUMS: Mapping[str, str] = MappingProxyType(
    {
        "wikitext-103-raw-v1/train-00000-of-00002.parquet": (
            "74da360f23826045b3e6ac6375411fdb15f003030aa74f2596ed08b857cb9212"
        ),
        "wikitext-103-raw-v1/train-00001-of-00002.parquet": (
            "ba090ac30dbf5461e8dcbdd1a1b8e6f3cf9c2c756d64f0c1220450acd514f720"
        ),
        "wikitext-103-raw-v1/validation-00000-of-00001.parquet": (
            "204929b7ff9d6184953f867dedb860e40aa69c078fc1e54b3baaa8fb28511c4c"
        ),
    }
)
TEXT_NAMES = {"train": "train", "validation": "valid"}
TEXT_FOLDERS = (".", "wikitext-103-raw", "wikitext-103")  # as the archives unpack
PARQUET_FOLDERS = (".", "wikitext-103-raw-v1", "wikitext-103-v1")
SHARDS = {"train": 2, "validation": 1}
OTHERWISE = "(files='any' takes another text)"


def load_wikitext103(
    context: int, *, vocabulary: int = 8192, folder: str | None = None, files: str = "published"
) -> tuple[np.ndarray, np.ndarray]:
    """Train and validation blocks of token ids, uint16 of shape [blocks, context + 1], mapped into memory.

    The first load makes a vocabulary of the training text and the ids of all of it, with an id for the end of
    each line, and leaves them in the folder for the next: see `token_cache`. The inputs of a block are its
    first `context` ids, the targets its last; a block begins with the last id of the one before, and the last
    few ids that fill no block are left out. The split "test" is not read.

    Args:
      context: tokens a block predicts.
      vocabulary: tokens of the SentencePiece unigram vocabulary.
      folder: where the published files are, or the sub-folder in which they come; by default as
        `local_files.data_folder` says. Looked for are wiki.train.raw and wiki.valid.raw, then the same with
        .tokens, then train-00000-of-00002.parquet and so on and validation-00000-of-00001.parquet.
      files: "published" insists on the published numbers of lines and words, and on the checksums of parquet
        files in wikitext-103-raw-v1; "any" takes whatever is text in these forms.

    Raises:
      ValueError: an option is not as described, or a file is missing, damaged or not the published one, or
        too short for the vocabulary or for a block, or the folder cannot be written to.
      ImportError: SentencePiece is missing, or pyarrow where the files are parquet.
    """
    if context < 1:
        raise ValueError(f"wikitext103: context must be at least 1, got {context}")
    if not 1 <= vocabulary <= LARGEST_VOCABULARY:
        raise ValueError(f"wikitext103: vocabulary must be in [1, {LARGEST_VOCABULARY}], got {vocabulary}")
    place = data_folder("wikitext103", SOURCE, folder, files)
    found = find_files(place)
    splits = tokenized_text(
        place,
        found,
        vocabulary,
        functools.partial(_check_files, place, found),
        functools.partial(_check_text, place, found),
    )
    for split, ids in splits.items():
        if len(ids) <= context:
            expected = f"more than context={context:,} tokens of text"
            raise place.problem(found[split][0], expected, f"{len(ids):,}")
    # a block begins where the one before ends
    windows = [np.lib.stride_tricks.sliding_window_view(ids, context + 1) for ids in splits.values()]
    train, validation = (blocks[::context] for blocks in windows)
    return train, validation


def find_files(place: DataFolder) -> dict[str, list[Path]]:
    """The files of each split in the first form of which all are there; they are not read.

    Raises ValueError when one is missing or empty.
    """
    forms = [
        {split: [place.path / folder / f"wiki.{name}.{ending}"] for split, name in TEXT_NAMES.items()}
        for folder in TEXT_FOLDERS
        for ending in ("raw", "tokens")
    ]
    forms += [{split: _shards(place.path / folder, split) for split in SHARDS} for folder in PARQUET_FOLDERS]
    missing = [[path for paths in form.values() for path in paths if not path.is_file()] for form in forms]
    for form, absent in zip(forms, missing, strict=True):
        if not absent:
            return _not_empty(place, form)
    for form, absent in zip(forms, missing, strict=True):
        if len(absent) < sum(map(len, form.values())):
            names = ", ".join(path.name for paths in form.values() for path in paths)
            raise place.problem(absent[0].parent, names, "no " + ", ".join(path.name for path in absent))
    names = "wiki.train.raw and wiki.valid.raw, or the same with .tokens, or the parquet files,"
    raise place.problem(place.path, names, "none of them" if place.path.is_dir() else "no such folder")


def _shards(folder: Path, split: str) -> list[Path]:
    """The parquet files of a split, as many as their names say."""
    names = (re.fullmatch(rf"{split}-\d{{5}}-of-(\d{{5}})\.parquet", path.name) for path in folder.glob("*"))
    total = min((int(name[1]) for name in names if name and int(name[1])), default=SHARDS[split])
    return [folder / f"{split}-{shard:05d}-of-{total:05d}.parquet" for shard in range(total)]


def _not_empty(place: DataFolder, files: dict[str, list[Path]]) -> dict[str, list[Path]]:
    for path in (path for paths in files.values() for path in paths):
        if path.stat().st_size == 0:
            raise place.problem(path, "text", "an empty file")
    return files


def _check_files(
    place: DataFolder, files: Mapping[str, Sequence[Path]], checksums: Mapping[str, str]
) -> None:
    """Raise ValueError when the published files are insisted on and one of these is another."""
    for path in (path for paths in files.values() for path in paths if place.insist):
        checksum = checksums[full_name(path)]
        published = PUBLISHED_CHECKSUMS.get(full_name(path), checksum)
        if checksum != published:
            raise place.problem(path, f"the published SHA-256 checksum {published} {OTHERWISE}", checksum)


def _check_text(place: DataFolder, files: Mapping[str, Sequence[Path]], counts: Mapping[str, Counts]) -> None:
    """Raise ValueError when the published text is insisted on and this is another one."""
    for split, published in PUBLISHED_COUNTS.items():
        if place.insist and counts[split] != published:
            expected, found = (
                f"{lines:,} lines and {words:,} words with the ends of lines"
                for lines, words in (published, counts[split])
            )
            raise place.problem(files[split][0], f"the published {expected} {OTHERWISE}", found)
