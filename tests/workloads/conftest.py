"""A miniature of WikiText-103, in its layout."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from workloads.datasets.wikitext103 import load_wikitext103

MINIATURE = {"vocabulary": 330, "files": "any"}
ONSETS, RHYMES = (
    ("b", "d", "f", "g", "h", "k", "l", "m", "pr", "qu", "st", "th", "v", "x"),
    ("a", "en", "ir", "oy", "um"),
)
SYLLABLES = [onset + rhyme for onset in ONSETS for rhyme in RHYMES]
SPECIAL = ("日本", "naïve", "½", "@-@", "@,@", "1", "000", "<unk>", "</s>", "the", "of", "and")
WORDS = (*(first + second for first in SYLLABLES[::3] for second in SYLLABLES[::4]), *SPECIAL)


def miniature(seed: int, num_lines: int) -> str:
    """Headings, empty lines and paragraphs, each with a space before and after."""
    random, lines = np.random.default_rng(seed), []
    for number in range(num_lines):
        if number % 7 == 0:
            line = f" = {' '.join(random.choice(WORDS, 2))} = "
        else:
            line = f" {' '.join(random.choice(WORDS, random.integers(5, 60)))} . " if number % 2 else " "
        lines.append(line + "\n")
    return "".join(lines)


@pytest.fixture(scope="session")
def wikitext() -> dict[str, str]:
    """The text of a training and of a validation split."""
    return {"train": miniature(1, 600), "validation": miniature(2, 90)}


@pytest.fixture
def wikitext_folder(tmp_path, wikitext):
    """A folder with both as plain text."""
    folder = tmp_path / "wikitext103"
    write_plain(folder, wikitext)
    return folder


@pytest.fixture(name="write_plain")
def write_plain_fixture():
    return write_plain


def write_plain(folder: Path, text: dict[str, str], ending: str = "raw") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in (("train", "train"), ("valid", "validation")):
        (folder / f"wiki.{name}.{ending}").write_bytes(text[split].encode())


@pytest.fixture(name="write_parquet")
def write_parquet_fixture():
    return write_parquet


def write_parquet(folder: Path, text: dict[str, str], shards: int = 2, kind=None, **options) -> None:
    """As published: a row for each line, with its end; those without text are empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, total in (("train", shards), ("validation", 1)):
        rows = [row if row.strip() else "" for row in text[split].splitlines(keepends=True)]
        for shard, part in enumerate(np.array_split(np.array(rows, dtype=object), total)):
            table = pyarrow.table({"text": pyarrow.array(part.tolist(), kind or pyarrow.string())})
            path = folder / f"{split}-{shard:05d}-of-{total:05d}.parquet"
            pyarrow.parquet.write_table(table, path, **options)


@pytest.fixture
def load_miniature():
    """`load_wikitext103` of whatever text, with a vocabulary small enough for this one."""

    def load(folder, context=16, **options):
        return load_wikitext103(context, folder=str(folder), **{**MINIATURE, **options})

    return load
