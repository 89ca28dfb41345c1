"""WikiText-103 from files in its published forms, as blocks of token ids."""

import hashlib
import sys

import jax
import numpy as np
import pyarrow
import pytest
import sentencepiece

from workloads import load, metric_names
from workloads.datasets import token_cache, wikitext103
from workloads.datasets.token_cache import Counts
from workloads.datasets.tokenizer import END_OF_LINE, LONGEST_WORD, encode, train_tokenizer
from workloads.datasets.wikitext103 import load_wikitext103

VOCABULARY, CONTEXT = 330, 16
MINIATURE = {"vocabulary": VOCABULARY, "files": "any"}


def ids_of(blocks):
    """The ids that blocks tile, once each."""
    return np.concatenate([blocks[0, :1], blocks[:, 1:].ravel()])


def all_ids(folder, split):
    return np.fromfile(folder / f"sentencepiece-{VOCABULARY}" / f"{split}.uint16", np.uint16)


# What is read


def test_ids_decode_to_the_lines_and_each_ends(wikitext_folder, wikitext, load_miniature):
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
def test_blocks_begin_where_the_one_before_ends_and_leave_out_less_than_one(
    wikitext_folder, context, load_miniature
):
    for blocks, split in zip(load_miniature(wikitext_folder, context), ("train", "validation"), strict=True):
        ids = all_ids(wikitext_folder, split)
        assert blocks.shape == ((len(ids) - 1) // context, context + 1)
        assert blocks.dtype == np.uint16
        np.testing.assert_array_equal(blocks[1:, 0], blocks[:-1, -1])
        np.testing.assert_array_equal(ids_of(blocks), ids[: len(blocks) * context + 1])


FORMS = {
    "raw": ("plain", ".", {}),
    "raw as unpacked": ("plain", "wikitext-103-raw", {}),
    "tokens": ("plain", ".", {"ending": "tokens"}),
    "tokens as unpacked": ("plain", "wikitext-103", {"ending": "tokens"}),
    "parquet": ("parquet", ".", {}),
    "parquet, one shard": ("parquet", ".", {"shards": 1}),
    "parquet, small pages": ("parquet", "wikitext-103-raw-v1", {"data_page_size": 99, "row_group_size": 50}),
    "parquet, large strings": ("parquet", "wikitext-103-v1", {"kind": pyarrow.large_string()}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_text_gives_the_same_ids(
    form, wikitext_folder, wikitext, tmp_path, load_miniature, write_plain, write_parquet
):
    kind, folder, options = FORMS[form]
    write = {"plain": write_plain, "parquet": write_parquet}[kind]
    write(tmp_path / "other" / folder, wikitext, **options)
    forms = (load_miniature(tmp_path / "other"), load_miniature(wikitext_folder))
    for blocks, plain in zip(*forms, strict=True):
        np.testing.assert_array_equal(blocks, plain)


def test_the_last_line_need_not_end(wikitext_folder, wikitext, tmp_path, load_miniature, write_plain):
    write_plain(tmp_path / "other", {split: text.removesuffix("\n") for split, text in wikitext.items()})
    np.testing.assert_array_equal(load_miniature(tmp_path / "other")[1], load_miniature(wikitext_folder)[1])


def test_a_long_word_is_learnt_from_in_pieces_and_encoded_whole():
    """To train on it at once takes the square of its length, and fails at 400,000 characters."""
    word = "".join(np.random.default_rng(0).choice(list("abcdefghij"), 4 * LONGEST_WORD))
    text = "a word " + word
    model = train_tokenizer([text], VOCABULARY)
    pieces = [word[start : start + LONGEST_WORD] for start in range(0, len(word), LONGEST_WORD)]
    assert model == train_tokenizer(["a word " + pieces[0], *pieces[1:]], VOCABULARY)
    (ids,) = encode(model, [text])
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert tokenizer.decode(ids[:-1].tolist()) == text
    assert ids[-1] == END_OF_LINE


def test_the_default_folder_is_the_environments(wikitext_folder, monkeypatch, load_miniature):
    monkeypatch.setenv("STEEPEST_DATA", str(wikitext_folder.parent))
    train, _ = load_wikitext103(CONTEXT, **MINIATURE)
    np.testing.assert_array_equal(train, load_miniature(wikitext_folder)[0])


def test_nothing_is_printed(wikitext_folder, capfd, load_miniature):
    load_miniature(wikitext_folder)
    assert capfd.readouterr() == ("", "")


# The published text


def counts_of(text):
    return {
        split: Counts(lines.count("\n"), len(lines.split()) + lines.count("\n"))
        for split, lines in text.items()
    }


def test_the_published_words_are_those_without_ends_of_lines_and_the_lines():
    # 101,425,671 and 213,886: the words that other loaders count in the raw text
    lines, words = zip(*wikitext103.PUBLISHED_COUNTS.values(), strict=True)
    assert np.subtract(words, lines).tolist() == [101_425_671, 213_886]


def test_another_text_is_refused_and_any_taken(wikitext_folder, wikitext, load_miniature):
    counts = counts_of(wikitext)["train"]
    found = f"found {counts.lines} lines and {counts.words:,} words"
    message = rf"published 1,801,350 lines and 103,227,021 words .*files='any'.*wiki.train.raw, {found}"
    for _ in range(2):  # the ids made by other means are no way round
        with pytest.raises(ValueError, match=message):
            load_miniature(wikitext_folder, files="published")
        load_miniature(wikitext_folder)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_published_counts_are_insisted_on_in_both_splits(
    split, wikitext_folder, wikitext, monkeypatch, load_miniature
):
    counts = counts_of(wikitext)
    monkeypatch.setattr(wikitext103, "PUBLISHED_COUNTS", counts)
    load_miniature(wikitext_folder, files="published")
    counts[split] = counts[split]._replace(words=counts[split].words + 1)
    with pytest.raises(
        ValueError, match=f"{counts[split].words:,} words .*found .*{counts[split].words - 1:,}"
    ):
        load_miniature(wikitext_folder, files="published")


def test_the_published_checksums_are_insisted_on(
    tmp_path, wikitext, monkeypatch, load_miniature, write_parquet
):
    folder = tmp_path / "wikitext-103-raw-v1"
    write_parquet(folder, wikitext)
    name = "train-00001-of-00002.parquet"
    checksum = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(wikitext103, "PUBLISHED_COUNTS", counts_of(wikitext))
    monkeypatch.setattr(wikitext103, "PUBLISHED_CHECKSUMS", {f"{folder.name}/{name}": checksum})
    load_miniature(tmp_path, files="published")
    load_miniature(folder, files="published")
    monkeypatch.setattr(wikitext103, "PUBLISHED_CHECKSUMS", {f"{folder.name}/{name}": "0" * 64})
    for place in (tmp_path, folder):
        message = f"SHA-256 checksum 0{{64}} .* in {folder / name}, found {checksum}"
        with pytest.raises(ValueError, match=message):
            load_miniature(place, files="published")


def test_what_is_not_the_published_file_is_not_read(
    tmp_path, wikitext, monkeypatch, load_miniature, write_parquet
):
    """Its checksum is told, and not what the reader makes of it."""
    folder = tmp_path / "wikitext-103-raw-v1"
    write_parquet(folder, wikitext)
    (folder / "train-00000-of-00002.parquet").write_bytes(b"no parquet")
    monkeypatch.setattr(token_cache, "read_lines", lambda *_: pytest.fail("it was read"))
    checksum = hashlib.sha256(b"no parquet").hexdigest()
    with pytest.raises(ValueError, match=f"the published SHA-256 checksum 74da.*, found {checksum}"):
        load_miniature(tmp_path, files="published")


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
def test_a_missing_library_is_named_with_the_extra(
    library, wikitext, tmp_path, monkeypatch, load_miniature, write_parquet
):
    write_parquet(tmp_path, wikitext)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"pip install 'steepest\[text\]'"):
        load_miniature(tmp_path)


def test_the_workload_is_of_these_blocks_and_an_untrained_model_guesses(wikitext_folder, load_miniature):
    workload = load("wikitext103", folder=str(wikitext_folder), size="laptop", context=CONTEXT, **MINIATURE)
    for data, blocks in zip(workload.data, load_miniature(wikitext_folder), strict=True):
        np.testing.assert_array_equal(data, blocks)
    epoch = workload.indices(jax.random.key(1), 4, len(workload.data.train) // 4)
    assert len(np.unique(epoch)) == epoch.size  # no block is seen twice before the others
    params = jax.jit(workload.init)(jax.random.key(0))
    assert params["params"]["embed"]["embedding"].shape == (VOCABULARY, 64)
    metrics = jax.jit(workload.evaluate)(params, workload.data)
    assert set(metrics) == set(metric_names(workload))
    assert set(metrics) == {"train_loss", "train_error", "test_loss", "test_error"}
    # LeCun's head gives logits of standard deviation 1, which add about ½
    np.testing.assert_allclose(metrics["test_loss"], np.log(VOCABULARY) + 0.5, atol=0.4)
