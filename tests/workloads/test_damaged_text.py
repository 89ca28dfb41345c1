"""Files of WikiText-103 that are damaged or missing: each is named, with what was expected."""

import re
import shutil

import pyarrow
import pyarrow.parquet
import pytest

PLAIN_DAMAGES, PARQUET_DAMAGES = {}, {}


def damage(name, damages=PLAIN_DAMAGES):
    """Register a way to spoil a folder, which returns what is to be said of it."""

    def register(function):
        damages[name] = function
        return function

    return register


@damage("no such folder")
def _(folder):
    shutil.rmtree(folder)
    return "wiki.train.raw and wiki.valid.raw.*found no such folder"


@damage("an empty folder")
def _(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    return "wiki.train.raw and wiki.valid.raw.*found none of them"


@damage("a split missing")
def _(folder):
    (folder / "wiki.valid.raw").unlink()
    return "expected wiki.train.raw, wiki.valid.raw .*found no wiki.valid.raw"


@damage("an empty file")
def _(folder):
    (folder / "wiki.valid.raw").write_bytes(b"")
    return "expected text in .*wiki.valid.raw, found an empty file"


@damage("not UTF-8")
def _(folder):
    path = folder / "wiki.train.raw"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:4], b"caf\xe9 au lait", *lines[5:]]))
    return "text in UTF-8 in .*wiki.train.raw, found the byte 0xe9 in line 5"


@damage("cut inside a character")
def _(folder):
    path = folder / "wiki.train.raw"
    path.write_bytes(path.read_bytes() + "日".encode()[:2])
    return "text in UTF-8 in .*wiki.train.raw, found the byte 0xe6 in line 601"


@damage("cut to less than a block")
def _(folder):
    (folder / "wiki.valid.raw").write_bytes(b"a\n")
    return "expected more than context=16 tokens of text in .*wiki.valid.raw, found [2-9]"


@damage("cut to less than the vocabulary")
def _(folder):
    (folder / "wiki.train.raw").write_bytes(b"a river in gold\n")
    return "text enough for 330 tokens in .*wiki.train.raw, .*Vocabulary size too high"


@damage("more characters than tokens")
def _(folder):
    (folder / "wiki.train.raw").write_text(" ".join(map(chr, range(0x4E00, 0x4F00))), encoding="utf-8")
    return "text enough for 330 tokens in .*wiki.train.raw, .*Vocabulary size is smaller than required"


@damage("no text at all")
def _(folder):
    (folder / "wiki.train.raw").write_bytes(b" \n \n")
    return "text enough for 330 tokens in .*wiki.train.raw, found"


@damage("a folder in the place of a file")
def _(folder):
    (folder / "wiki.train.raw").unlink()
    (folder / "wiki.train.raw").mkdir()
    return "found no wiki.train.raw"


TRAIN_SHARD = "train-00001-of-00002.parquet"


@damage("a shard missing", PARQUET_DAMAGES)
def _(folder):
    (folder / TRAIN_SHARD).unlink()
    return f"expected train-00000-of-00002.parquet, {TRAIN_SHARD}, valid.*found no {TRAIN_SHARD}"


@damage("a split missing", PARQUET_DAMAGES)
def _(folder):
    (folder / "validation-00000-of-00001.parquet").unlink()
    return "found no validation-00000-of-00001.parquet"


@damage("cut", PARQUET_DAMAGES)
def _(folder):
    content = (folder / TRAIN_SHARD).read_bytes()
    (folder / TRAIN_SHARD).write_bytes(content[: len(content) // 2])
    return f"a whole parquet file .*{TRAIN_SHARD}, found {len(content) // 2:,} bytes: Parquet magic bytes"


@damage("a byte changed", PARQUET_DAMAGES)
def _(folder):
    content = bytearray((folder / TRAIN_SHARD).read_bytes())
    content[len(content) // 4] ^= 1
    (folder / TRAIN_SHARD).write_bytes(content)
    return f"a whole parquet file .*{TRAIN_SHARD}, found .*(CRC|checksum)"


@damage("no column of that name", PARQUET_DAMAGES)
def _(folder):
    pyarrow.parquet.write_table(pyarrow.table({"line": ["a"], "page": [1]}), folder / TRAIN_SHARD)
    return (
        rf"a column 'text' of strings in .*{TRAIN_SHARD}, found the columns line \(string\), page \(int64\)"
    )


@damage("a column of numbers", PARQUET_DAMAGES)
def _(folder):
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2]}), folder / TRAIN_SHARD)
    return rf"a column 'text' of strings in .*{TRAIN_SHARD}, found the columns text \(int64\)"


@damage("a row without text", PARQUET_DAMAGES)
def _(folder):
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None]}), folder / TRAIN_SHARD)
    return f"text in every row of 'text' in .*{TRAIN_SHARD}, found a row without"


@damage("no rows", PARQUET_DAMAGES)
def _(folder):
    empty = pyarrow.table({"text": pyarrow.array([], pyarrow.string())})
    pyarrow.parquet.write_table(empty, folder / "validation-00000-of-00001.parquet")
    return "expected lines of text in .*validation-00000-of-00001.parquet, found none"


def assert_named(load_miniature, folder, message):
    place = rf"; the files come from https://huggingface.co/.* and belong in {re.escape(str(folder))}$"
    with pytest.raises(ValueError, match=f"^wikitext103: .*{message}.*{place}"):
        load_miniature(folder)
    assert not list(folder.glob(".sentencepiece*"))


@pytest.mark.parametrize("name", PLAIN_DAMAGES)
def test_damaged_text_is_named_with_where_the_files_come_from_and_belong(
    name, wikitext_folder, load_miniature
):
    assert_named(load_miniature, wikitext_folder, PLAIN_DAMAGES[name](wikitext_folder))


@pytest.mark.parametrize("name", PARQUET_DAMAGES)
def test_damaged_parquet_is_named_with_where_the_files_come_from_and_belong(
    name, tmp_path, wikitext, load_miniature, write_parquet
):
    folder = tmp_path / "wikitext-103-raw-v1"
    write_parquet(folder, wikitext, write_page_checksum=True)
    assert_named(load_miniature, tmp_path, PARQUET_DAMAGES[name](folder))
