"""The token ids kept beside a text: used again while the text is the same, and made anew otherwise."""

import os
import re
import shutil
import tempfile

import numpy as np
import pytest

from workloads.datasets import token_cache

CACHE = "sentencepiece-330"


def count_trainings(monkeypatch):
    calls, train = [], token_cache.train_tokenizer
    monkeypatch.setattr(token_cache, "train_tokenizer", lambda *given: calls.append(1) or train(*given))
    return calls


def test_a_second_load_trains_nothing_and_gives_the_same(wikitext_folder, monkeypatch, load_miniature):
    calls = count_trainings(monkeypatch)
    first, second = load_miniature(wikitext_folder), load_miniature(wikitext_folder)
    assert len(calls) == 1
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_the_same_text_gives_the_same_model(
    wikitext_folder, wikitext, tmp_path, load_miniature, write_parquet
):
    write_parquet(tmp_path / "other", wikitext)
    models = []
    for folder in (wikitext_folder, tmp_path / "other"):
        load_miniature(folder)
        models.append((folder / CACHE / "tokenizer.model").read_bytes())
    assert models[0] == models[1]


def test_vocabularies_are_kept_apart(wikitext_folder, monkeypatch, load_miniature):
    load_miniature(wikitext_folder)
    load_miniature(wikitext_folder, vocabulary=320)
    calls = count_trainings(monkeypatch)
    largest = [load_miniature(wikitext_folder, vocabulary=size)[0].max() for size in (320, 330)]
    assert not calls
    assert largest[0] < 320 <= largest[1] < 330


@pytest.mark.parametrize("later", [0, 3])
def test_a_changed_text_is_read_anew(later, wikitext_folder, monkeypatch, load_miniature):
    path = wikitext_folder / "wiki.valid.raw"
    load_miniature(wikitext_folder)
    written = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes().replace(b"quoy", b"quoya" if later == 0 else b"yuqo"))
    os.utime(path, ns=(written + later, written + later))  # of another size or of another time
    calls = count_trainings(monkeypatch)
    _, validation = load_miniature(wikitext_folder)
    assert len(calls) == 1
    shutil.rmtree(wikitext_folder / CACHE)
    np.testing.assert_array_equal(validation, load_miniature(wikitext_folder)[1])


SPOILT = {
    "the record is cut": ("record.json", lambda content: content[:-20]),
    "the record is another's": ("record.json", lambda content: b'{"made_from": 1, "sizes": [2]}'),
    "other options": ("record.json", lambda content: content.replace(b'"unk_id": 0', b'"unk_id": 9')),
    "a record of no survey": ("record.json", lambda content: content.replace(b'"survey"', b'"surveyed"')),
    "another count": ("record.json", lambda content: content.replace(b"600", b"601")),
    "a record nested deep": ("record.json", lambda content: b"[" * 100_000),
    "ids overwritten": ("train.uint16", lambda content: b"\xff" * len(content)),
    "an id overwritten": ("validation.uint16", lambda content: b"\1\0" + content[2:]),
    "a byte of the model": ("tokenizer.model", lambda content: content[:50] + b"\0" + content[51:]),
    "the ids are cut": ("train.uint16", lambda content: content[:-2]),
    "the model is cut": ("tokenizer.model", lambda content: content[:-1]),
    "ids are missing": ("validation.uint16", None),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_cache_is_made_anew(name, wikitext_folder, monkeypatch, load_miniature):
    expected = [np.array(blocks) for blocks in load_miniature(wikitext_folder)]
    file, spoil = SPOILT[name]
    path = wikitext_folder / CACHE / file
    if spoil:
        path.write_bytes(spoil(path.read_bytes()))
    else:
        path.unlink()
    calls = count_trainings(monkeypatch)
    for blocks, first in zip(load_miniature(wikitext_folder), expected, strict=True):
        np.testing.assert_array_equal(blocks, first)
    assert len(calls) == 1
    load_miniature(wikitext_folder)
    assert len(calls) == 1


@pytest.mark.parametrize("file", ["record.json", "train.uint16"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(file, wikitext_folder, load_miniature):
    expected = [np.array(blocks) for blocks in load_miniature(wikitext_folder)]
    (wikitext_folder / CACHE / file).unlink()
    os.mkfifo(wikitext_folder / CACHE / file)
    for blocks, first in zip(load_miniature(wikitext_folder), expected, strict=True):
        np.testing.assert_array_equal(blocks, first)


def test_all_that_is_written_is_on_the_disk_before_the_cache_has_its_name(
    wikitext_folder, monkeypatch, load_miniature
):
    """Else a machine that loses power may keep the name and not the content."""
    events = []

    def rename(path, target, rename=os.rename):
        events.append("renamed")
        rename(path, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(os, "rename", rename)
    load_miniature(wikitext_folder)
    *content, folder, renamed, place = events
    cache = wikitext_folder / CACHE
    assert sorted(content) == sorted(path.stat().st_ino for path in cache.iterdir())
    assert (folder, renamed, place) == (cache.stat().st_ino, "renamed", wikitext_folder.stat().st_ino)


def test_a_load_that_is_interrupted_leaves_nothing(wikitext_folder, monkeypatch, load_miniature):
    def interrupted(model, lines):
        yield np.zeros(3, np.uint16)
        raise KeyboardInterrupt

    files = sorted(wikitext_folder.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(token_cache, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_miniature(wikitext_folder)
    assert sorted(wikitext_folder.iterdir()) == files
    load_miniature(wikitext_folder)


def test_a_folder_that_cannot_be_written_to_is_named(wikitext_folder, monkeypatch, load_miniature):
    def refuse(suffix, prefix, folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    folder = re.escape(str(wikitext_folder))
    with pytest.raises(ValueError, match=f"keep the token ids in {folder}, found .*Permission denied"):
        load_miniature(wikitext_folder)


def test_long_texts_are_sampled_evenly(wikitext_folder, wikitext, monkeypatch, load_miniature):
    load_miniature(wikitext_folder)  # of every line; its ids are not those of a sample
    seen, train = [], token_cache.train_tokenizer
    monkeypatch.setattr(token_cache, "SAMPLED_LINES", 100)  # of 600: every sixth of those with text
    monkeypatch.setattr(
        token_cache, "train_tokenizer", lambda lines, size: train(seen.append(list(lines)) or seen[0], size)
    )
    load_miniature(wikitext_folder)
    assert seen[0] == [line.strip() for line in wikitext["train"].split("\n") if line.strip()][::6]
