"""WikiText-103 from files in its published forms, whole and damaged, and the token ids kept beside them."""

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import sentencepiece

from workloads import load
from workloads.datasets import token_cache, wikitext103
from workloads.datasets.tokenizer import END_OF_LINE
from workloads.datasets.wikitext103 import load_wikitext103

VOCABULARY, CONTEXT = 330, 16
MINIATURE = {"vocabulary": VOCABULARY, "files": "any"}


def load_miniature(folder, context=CONTEXT, **options):
    return load_wikitext103(context, folder=str(folder), **{**MINIATURE, **options})


def write_plain(folder, text, ending="raw"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in (("train", "train"), ("valid", "validation")):
        (folder / f"wiki.{name}.{ending}").write_bytes(text[split].encode())


def write_parquet(folder, text, shards=2, kind=None, **options):
    """As published: a row for each line, with its end; those without text are empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, total in (("train", shards), ("validation", 1)):
        rows = [row if row.strip() else "" for row in text[split].splitlines(keepends=True)]
        for shard, part in enumerate(np.array_split(np.array(rows, dtype=object), total)):
            table = pyarrow.table({"text": pyarrow.array(part.tolist(), kind or pyarrow.string())})
            path = folder / f"{split}-{shard:05d}-of-{total:05d}.parquet"
            pyarrow.parquet.write_table(table, path, **options)


def ids_of(blocks):
    """The ids that blocks tile, once each."""
    return np.concatenate([blocks[0, :1], blocks[:, 1:].ravel()])


def all_ids(folder, split):
    return np.fromfile(folder / f"sentencepiece-{VOCABULARY}" / f"{split}.uint16", np.uint16)


def count_trainings(monkeypatch):
    calls, train = [], token_cache.train_tokenizer
    monkeypatch.setattr(token_cache, "train_tokenizer", lambda *given: calls.append(1) or train(*given))
    return calls


# What is read


def test_ids_decode_to_the_lines_and_each_ends(wikitext_folder, wikitext):
    load_miniature(wikitext_folder)
    model = str(wikitext_folder / f"sentencepiece-{VOCABULARY}" / "tokenizer.model")
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=model)
    assert tokenizer.vocab_size() == VOCABULARY
    for split, text in wikitext.items():
        ids = all_ids(wikitext_folder, split)
        ends = np.flatnonzero(ids == END_OF_LINE)
        lines = [tokenizer.decode(line[:-1].tolist()) for line in np.split(ids, ends + 1)[:-1]]
        assert ends[-1] == len(ids) - 1
        assert lines == [line.strip() for line in text.split("\n")[:-1]]


@pytest.mark.parametrize("context", [1, 16, 100])
def test_blocks_begin_where_the_one_before_ends_and_leave_out_less_than_one(wikitext_folder, context):
    for blocks, split in zip(load_miniature(wikitext_folder, context), ("train", "validation"), strict=True):
        ids = all_ids(wikitext_folder, split)
        assert blocks.shape == ((len(ids) - 1) // context, context + 1)
        assert blocks.dtype == np.uint16
        np.testing.assert_array_equal(blocks[1:, 0], blocks[:-1, -1])
        np.testing.assert_array_equal(ids_of(blocks), ids[: len(blocks) * context + 1])


WRITERS = {
    "raw": lambda folder, text: write_plain(folder, text),
    "raw as unpacked": lambda folder, text: write_plain(folder / "wikitext-103-raw", text),
    "tokens": lambda folder, text: write_plain(folder, text, "tokens"),
    "tokens as unpacked": lambda folder, text: write_plain(folder / "wikitext-103", text, "tokens"),
    "no last end of line": lambda folder, text: write_plain(
        folder, {split: lines.removesuffix("\n") for split, lines in text.items()}
    ),
    "parquet": lambda folder, text: write_parquet(folder, text),
    "parquet, one shard": lambda folder, text: write_parquet(folder, text, shards=1),
    "parquet, small pages": lambda folder, text: write_parquet(
        folder / "wikitext-103-raw-v1", text, data_page_size=100, row_group_size=50
    ),
    "parquet, large strings": lambda folder, text: write_parquet(
        folder / "wikitext-103-v1", text, kind=pyarrow.large_string()
    ),
}


@pytest.mark.parametrize("form", WRITERS)
def test_every_form_of_a_text_gives_the_same_ids(form, wikitext_folder, wikitext, tmp_path):
    expected = load_miniature(wikitext_folder)
    WRITERS[form](tmp_path / "other", wikitext)
    for blocks, plain in zip(load_miniature(tmp_path / "other"), expected, strict=True):
        np.testing.assert_array_equal(blocks, plain)


def test_the_default_folder_is_the_environments(wikitext_folder, monkeypatch):
    monkeypatch.setenv("STEEPEST_DATA", str(wikitext_folder.parent))
    train, _ = load_wikitext103(CONTEXT, **MINIATURE)
    np.testing.assert_array_equal(train, load_miniature(wikitext_folder)[0])


def test_nothing_is_printed(wikitext_folder, capfd):
    load_miniature(wikitext_folder)
    assert capfd.readouterr() == ("", "")


# The published text


def counts_of(text):
    return {
        split: token_cache.Counts(lines.count("\n"), len(lines.split()) + lines.count("\n"))
        for split, lines in text.items()
    }


def test_the_published_words_are_those_without_ends_of_lines_and_the_lines():
    # 101,425,671 and 213,886: the words that other loaders count in the raw text
    lines, words = zip(*wikitext103.PUBLISHED_COUNTS.values(), strict=True)
    assert np.subtract(words, lines).tolist() == [101_425_671, 213_886]


def test_another_text_is_refused_and_any_taken(wikitext_folder, wikitext):
    counts = counts_of(wikitext)["train"]
    found = f"found {counts.lines} lines and {counts.words:,} words"
    message = rf"published 1,801,350 lines and 103,227,021 words .*files='any'.*wiki.train.raw, {found}"
    for _ in range(2):  # the ids made by other means are no way round
        with pytest.raises(ValueError, match=message):
            load_miniature(wikitext_folder, files="published")
        load_miniature(wikitext_folder)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_published_counts_are_insisted_on_in_both_splits(split, wikitext_folder, wikitext, monkeypatch):
    counts = counts_of(wikitext)
    monkeypatch.setattr(wikitext103, "PUBLISHED_COUNTS", counts)
    load_miniature(wikitext_folder, files="published")
    counts[split] = counts[split]._replace(words=counts[split].words + 1)
    with pytest.raises(
        ValueError, match=f"{counts[split].words:,} words .*found .*{counts[split].words - 1:,}"
    ):
        load_miniature(wikitext_folder, files="published")


def test_the_published_checksums_are_insisted_on(tmp_path, wikitext, monkeypatch):
    folder = tmp_path / "wikitext-103-raw-v1"
    write_parquet(folder, wikitext)
    name = "train-00001-of-00002.parquet"
    checksum = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(wikitext103, "PUBLISHED_COUNTS", counts_of(wikitext))
    monkeypatch.setattr(wikitext103, "PUBLISHED_CHECKSUMS", {f"{folder.name}/{name}": checksum})
    load_miniature(tmp_path, files="published")
    load_miniature(folder, files="published")
    monkeypatch.setattr(wikitext103, "PUBLISHED_CHECKSUMS", {f"{folder.name}/{name}": "0" * 64})
    with pytest.raises(ValueError, match=f"SHA-256 checksum 0{{64}} .*{name}, found {checksum}"):
        load_miniature(tmp_path, files="published")


# Damage


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


def assert_named(folder, message):
    place = rf"; the files come from https://huggingface.co/.* and belong in {re.escape(str(folder))}$"
    with pytest.raises(ValueError, match=f"^wikitext103: .*{message}.*{place}"):
        load_miniature(folder)
    assert not list(folder.glob(".sentencepiece*"))


@pytest.mark.parametrize("name", PLAIN_DAMAGES)
def test_damaged_text_is_named_with_where_the_files_come_from_and_belong(name, wikitext_folder):
    assert_named(wikitext_folder, PLAIN_DAMAGES[name](wikitext_folder))


@pytest.mark.parametrize("name", PARQUET_DAMAGES)
def test_damaged_parquet_is_named_with_where_the_files_come_from_and_belong(name, tmp_path, wikitext):
    folder = tmp_path / "wikitext-103-raw-v1"
    write_parquet(folder, wikitext, write_page_checksum=True)
    assert_named(tmp_path, PARQUET_DAMAGES[name](folder))


# The ids kept beside the text


def test_a_second_load_trains_nothing_and_gives_the_same(wikitext_folder, monkeypatch):
    calls = count_trainings(monkeypatch)
    first, second = load_miniature(wikitext_folder), load_miniature(wikitext_folder, context=CONTEXT)
    assert len(calls) == 1
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_the_same_text_gives_the_same_model(wikitext_folder, wikitext, tmp_path):
    write_parquet(tmp_path / "other", wikitext)
    models = []
    for folder in (wikitext_folder, tmp_path / "other"):
        load_miniature(folder)
        models.append((folder / f"sentencepiece-{VOCABULARY}" / "tokenizer.model").read_bytes())
    assert models[0] == models[1]


def test_vocabularies_are_kept_apart(wikitext_folder, monkeypatch):
    load_miniature(wikitext_folder)
    load_miniature(wikitext_folder, vocabulary=320)
    calls = count_trainings(monkeypatch)
    largest = [load_miniature(wikitext_folder, vocabulary=size)[0].max() for size in (320, VOCABULARY)]
    assert not calls
    assert largest[0] < 320 <= largest[1] < VOCABULARY


@pytest.mark.parametrize("later", [0, 3])
def test_a_changed_text_is_read_anew(later, wikitext_folder, monkeypatch):
    path = wikitext_folder / "wiki.valid.raw"
    load_miniature(wikitext_folder)
    written = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes().replace(b"quoy", b"quoya" if later == 0 else b"yuqo"))
    os.utime(path, ns=(written + later, written + later))  # of another size or of another time
    calls = count_trainings(monkeypatch)
    _, validation = load_miniature(wikitext_folder)
    assert len(calls) == 1
    shutil.rmtree(wikitext_folder / f"sentencepiece-{VOCABULARY}")
    np.testing.assert_array_equal(validation, load_miniature(wikitext_folder)[1])


SPOILT = {
    "the record is cut": ("record.json", lambda content: content[:-20]),
    "the record is another's": ("record.json", lambda content: b'{"made_from": 1, "sizes": [2]}'),
    "other options": ("record.json", lambda content: content.replace(b'"unk_id": 0', b'"unk_id": 9')),
    "the ids are cut": ("train.uint16", lambda content: content[:-2]),
    "the model is cut": ("tokenizer.model", lambda content: content[:-1]),
    "ids are missing": ("validation.uint16", None),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_cache_is_made_anew(name, wikitext_folder, monkeypatch):
    expected = [np.array(blocks) for blocks in load_miniature(wikitext_folder)]
    file, spoil = SPOILT[name]
    path = wikitext_folder / f"sentencepiece-{VOCABULARY}" / file
    if spoil:
        path.write_bytes(spoil(path.read_bytes()))
    else:
        path.unlink()
    calls = count_trainings(monkeypatch)
    for blocks, before in zip(load_miniature(wikitext_folder), expected, strict=True):
        np.testing.assert_array_equal(blocks, before)
    assert len(calls) == 1
    load_miniature(wikitext_folder)
    assert len(calls) == 1


def test_a_load_that_is_interrupted_leaves_nothing(wikitext_folder, monkeypatch):
    def interrupted(model, lines):
        yield np.zeros(3, np.uint16)
        raise KeyboardInterrupt

    before = sorted(wikitext_folder.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(token_cache, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_miniature(wikitext_folder)
    assert sorted(wikitext_folder.iterdir()) == before
    load_miniature(wikitext_folder)


def test_a_folder_that_cannot_be_written_to_is_named(wikitext_folder, monkeypatch):
    def refuse(suffix, prefix, folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    folder = re.escape(str(wikitext_folder))
    with pytest.raises(ValueError, match=f"keep the token ids in {folder}, found .*Permission denied"):
        load_miniature(wikitext_folder)


def test_long_texts_are_sampled_evenly(wikitext_folder, wikitext, monkeypatch):
    seen, train = [], token_cache.train_tokenizer
    monkeypatch.setattr(token_cache, "SAMPLED_LINES", 100)  # of 600: every sixth of those with text
    monkeypatch.setattr(
        token_cache, "train_tokenizer", lambda lines, size: train(seen.append(list(lines)) or seen[0], size)
    )
    load_miniature(wikitext_folder)
    assert seen[0] == [line.strip() for line in wikitext["train"].split("\n") if line.strip()][::6]


# Options and libraries


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": "some"}, r"files must be one of \['published', 'any'\], got 'some'"),
        ({"vocabulary": 0}, r"vocabulary must be in \[1, 65536\], got 0"),
        ({"vocabulary": 65537}, r"vocabulary must be in \[1, 65536\], got 65537"),
        ({"context": 0}, "context must be at least 1, got 0"),
        ({"size": "huge"}, r"size must be one of \['laptop', 'small', 'medium', 'paper'\], got 'huge'"),
        ({"heads": 3}, "heads must divide width=128, got 3"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_options_are_refused(options, message, wikitext_folder):
    with pytest.raises(ValueError, match=f"^wikitext103: {message}"):
        load("wikitext103", folder=str(wikitext_folder), **{**MINIATURE, **options})


@pytest.mark.parametrize("library", ["pyarrow", "sentencepiece"])
def test_a_missing_library_is_named_with_the_extra(library, wikitext, tmp_path, monkeypatch):
    write_parquet(tmp_path, wikitext)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"pip install 'steepest\[text\]'"):
        load_miniature(tmp_path)


def test_the_workload_is_of_these_blocks(wikitext_folder):
    workload = load("wikitext103", folder=str(wikitext_folder), size="laptop", context=CONTEXT, **MINIATURE)
    train, validation = load_miniature(wikitext_folder)
    np.testing.assert_array_equal(workload.data.train, train)
    np.testing.assert_array_equal(workload.data.test, validation)
    record = json.loads((wikitext_folder / f"sentencepiece-{VOCABULARY}" / "record.json").read_text())
    assert record["sizes"]["train.uint16"] == 2 * len(all_ids(wikitext_folder, "train"))
