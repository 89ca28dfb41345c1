"""MNIST and Fashion-MNIST in IDX files, plain and compressed, whole and spoilt."""

import gzip
import hashlib
import tracemalloc

import numpy as np
import pytest

import workloads.datasets.idx as idx_files
from workloads.datasets.idx import SOURCES, load_idx
from workloads.datasets.local_files import Published

SPELLINGS = [("", False), (".gz", False), ("", True), (".gz", True)]


@pytest.fixture
def splits(random_split):
    return random_split(7, (6, 5), 0), random_split(4, (6, 5), 1)


def assert_loaded(loaded, splits):
    train, test = splits
    train_images, train_labels, test_images, test_labels = loaded
    np.testing.assert_array_equal(train_images, train.images[..., None])
    np.testing.assert_array_equal(train_labels, train.labels)
    np.testing.assert_array_equal(test_images, test.images[..., None])
    np.testing.assert_array_equal(test_labels, test.labels)
    assert train_images.dtype == test_images.dtype == np.uint8
    assert train_labels.dtype == test_labels.dtype == np.int32


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(("ending", "dotted"), SPELLINGS)
def test_all_spellings_give_the_images_that_were_written(name, ending, dotted, tmp_path, splits, write_idx):
    write_idx(tmp_path, *splits, ending, dotted)
    assert_loaded(load_idx(name, folder=str(tmp_path), files="any"), splits)


def test_some_files_may_be_compressed_and_others_plain(tmp_path, splits, write_idx, idx_names):
    write_idx(tmp_path, *splits)
    for name in idx_names[1:3]:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    assert_loaded(load_idx("mnist", folder=str(tmp_path), files="any"), splits)


@pytest.mark.parametrize("name", SOURCES)
def test_the_default_folder_is_in_the_data_folder(name, tmp_path, splits, write_idx, monkeypatch):
    write_idx(tmp_path / name, *splits)
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    assert_loaded(load_idx(name, files="any"), splits)


def test_without_a_variable_the_data_folder_is_in_the_current_one(tmp_path, splits, write_idx, monkeypatch):
    write_idx(tmp_path / "data" / "mnist", *splits)
    monkeypatch.delenv("STEEPEST_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert_loaded(load_idx("mnist", files="any"), splits)


def pretend_published(monkeypatch, folder, names):
    """Let the plain files in `folder` be the published ones."""
    contents = [(folder / name).read_bytes() for name in names]
    published = tuple(Published(len(content), hashlib.md5(content).hexdigest()) for content in contents)
    source = SOURCES["mnist"]._replace(published=published)
    monkeypatch.setattr(idx_files, "SOURCES", {"mnist": source})


def test_published_files_are_known_by_their_content_however_compressed(
    tmp_path, splits, write_idx, idx_names, monkeypatch
):
    write_idx(tmp_path, *splits)
    pretend_published(monkeypatch, tmp_path, idx_names)
    assert_loaded(load_idx("mnist", folder=str(tmp_path)), splits)
    for level in (1, 9):
        packed = tmp_path / str(level)
        packed.mkdir()
        for name in idx_names:
            (packed / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes(), level))
        assert_loaded(load_idx("mnist", folder=str(packed)), splits)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_of_another_size_than_published_are_refused(ending, tmp_path, splits, write_idx):
    write_idx(tmp_path, *splits, ending)
    with pytest.raises(ValueError, match=r"published 47,040,016 bytes \(files='any'.*found 226 bytes"):
        load_idx("mnist", folder=str(tmp_path))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_changed_byte_is_seen_by_the_checksum(ending, tmp_path, splits, write_idx, idx_names, monkeypatch):
    write_idx(tmp_path, *splits)
    pretend_published(monkeypatch, tmp_path, idx_names)
    splits[1].labels[2] = (splits[1].labels[2] + 1) % 10
    write_idx(tmp_path / "changed", *splits, ending)
    with pytest.raises(ValueError, match=r"MD5 checksum [0-9a-f]{32} .*t10k-labels.*found [0-9a-f]{32};"):
        load_idx("mnist", folder=str(tmp_path / "changed"))
    load_idx("mnist", folder=str(tmp_path / "changed"), files="any")


def test_the_published_files_hold_60_000_and_10_000_images_of_28_by_28_bytes():
    sizes = [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    for source in SOURCES.values():
        assert [published.size for published in source.published] == sizes
    assert len({published.md5 for source in SOURCES.values() for published in source.published}) == 8


# which of the four files is replaced, its new content given the old one, and what the message says
CORRUPTIONS = {
    "truncated": (0, lambda content: content[:-1], "226 bytes for values.*found 225 bytes"),
    "too long": (1, lambda content: content + b"\0", r"15 bytes for values of shape \[7\].*found 16 bytes"),
    "empty": (2, lambda content: b"", "an empty file"),
    "only a header's half": (0, lambda content: content[:9], "a header of 16 bytes.*found 9 bytes"),
    "no IDX file": (0, lambda content: b"<html>404</html>", "magic number 00000803.*found .*3c68746d"),
    "signed bytes": (0, lambda content: b"\0\0\x09" + content[3:], "magic number 00000803.*found .*00000903"),
    "labels for images": (0, lambda content: b"\0\0\x08\x01" + content[4:], "00000803.*found .*00000801"),
    "images for labels": (1, lambda content: b"\0\0\x08\x03" + content[4:], "00000801.*found .*00000803"),
    "little-endian lengths": (3, lambda content: content[:4] + b"\4\0\0\0" + content[8:], "67,108,872 bytes"),
    "no images": (0, lambda content: content[:4] + bytes(4) + content[8:16], r"values of shape \[0, 6, 5\]"),
    "no pixels": (0, lambda content: content[:8] + bytes(8), r"values of shape \[7, 0, 0\]"),
    "a label too few": (1, lambda content: b"\0\0\x08\x01\0\0\0\6" + bytes(6), r"7 whole.*of shape \(6,\)"),
    "a label out of range": (3, lambda content: content[:-1] + b"\x0a", "labels from 0 to 9.*such as 10"),
    "images of another shape": (
        2,
        lambda content: content[:8] + b"\0\0\0\5\0\0\0\6" + content[16:],
        "6×5 pixels as for training.*found images of 5×6",
    ),
}
COMPRESSED_CORRUPTIONS = {
    "not compressed": (0, gzip.decompress, "whole gzip file.*found .* bytes: Not a gzipped file"),
    "truncated": (0, lambda content: content[:-9], "whole gzip file.*found .* bytes: .*ended"),
    "changed": (2, lambda content: content[:-8] + b"abcd" + content[-4:], "whole gzip file.*CRC"),
    "spoilt inside": (1, lambda content: content[:10] + b"\xff\xff" + content[12:], "whole gzip file.*rror"),
    "empty": (3, lambda content: b"", "found"),
}


def assert_refused(name, folder, file_name, message):
    with pytest.raises(ValueError, match=message) as refused:
        load_idx(name, folder=str(folder), files="any")
    place = {"mnist": "yann.lecun.com", "fashion_mnist": "dataset-fashion-mnist"}[name]
    for part in (f"{name}: expected", str(folder / file_name), "found", place, f"belong in {folder}"):
        assert part in str(refused.value)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_spoilt_file_is_refused(corruption, tmp_path, splits, write_idx, idx_names):
    write_idx(tmp_path, *splits)
    name, spoil, message = CORRUPTIONS[corruption]
    path = tmp_path / idx_names[name]
    path.write_bytes(spoil(path.read_bytes()))
    assert_refused("fashion_mnist", tmp_path, idx_names[name], message)


@pytest.mark.parametrize("corruption", COMPRESSED_CORRUPTIONS)
def test_a_spoilt_compressed_file_is_refused(corruption, tmp_path, splits, write_idx, idx_names):
    write_idx(tmp_path, *splits, ".gz")
    name, spoil, message = COMPRESSED_CORRUPTIONS[corruption]
    path = tmp_path / f"{idx_names[name]}.gz"
    path.write_bytes(spoil(path.read_bytes()))
    assert_refused("mnist", tmp_path, path.name, message)


@pytest.mark.parametrize("rows", [6, 2**32 - 1])
def test_no_more_is_uncompressed_than_the_header_promises(rows, tmp_path, splits, write_idx, idx_names):
    """Zeros of 4 GiB take 4 MB: the memory a loader takes follows its header, or the end of the file."""
    write_idx(tmp_path, *splits, ".gz")
    path = tmp_path / f"{idx_names[0]}.gz"
    header = gzip.decompress(path.read_bytes())[:8] + rows.to_bytes(4, "big") + (5).to_bytes(4, "big")
    path.write_bytes(gzip.compress(header + bytes(50_000_000), 1))
    found = "227 bytes and more" if rows == 6 else "50,000,016 bytes"
    tracemalloc.start()
    try:
        assert_refused("mnist", tmp_path, path.name, f"for values of shape .*, found {found};")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (4_000_000 if rows == 6 else 110_000_000)


def test_missing_files_are_named(tmp_path, splits, write_idx, idx_names):
    write_idx(tmp_path, *splits)
    for name in idx_names[1:3]:
        (tmp_path / name).unlink()
    assert_refused("mnist", tmp_path, "", f"found no {idx_names[1]}, {idx_names[2]};")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert_refused("fashion_mnist", tmp_path / "nowhere", "", "plain or with .gz.*found none of the files")


def test_a_choice_of_files_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"mnist: files must be one of \['published', 'any'\], got 'all'"):
        load_idx("mnist", folder=str(tmp_path), files="all")
