"""CIFAR-10's batches in both published formats, whole and spoilt."""

import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

import workloads.datasets.cifar10 as cifar10_files
from workloads.datasets.cifar10 import load_cifar10
from workloads.datasets.local_files import Published

FORMATS = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}


@pytest.fixture(params=FORMATS)
def written(request, tmp_path, cifar_batches, write_python_batches, write_binary_batches):
    """The folder of the batches in either format."""
    write = {"python": write_python_batches, "binary": write_binary_batches}[request.param]
    folder = tmp_path / "cifar10" / FORMATS[request.param]
    write(folder, cifar_batches)
    return folder


def assert_loaded(loaded, batches):
    train_images, train_labels, test_images, test_labels = loaded
    np.testing.assert_array_equal(train_images, np.concatenate([batch.images for batch in batches[:5]]))
    np.testing.assert_array_equal(train_labels, np.concatenate([batch.labels for batch in batches[:5]]))
    np.testing.assert_array_equal(test_images, batches[5].images)
    np.testing.assert_array_equal(test_labels, batches[5].labels)
    assert train_images.dtype == test_images.dtype == np.uint8
    assert train_labels.dtype == test_labels.dtype == np.int32


def test_both_formats_give_the_images_that_were_written(written, cifar_batches):
    assert_loaded(load_cifar10(folder=str(written), files="any"), cifar_batches)


def test_the_batches_are_found_in_the_folder_that_the_archive_unpacks_to(written, cifar_batches):
    assert_loaded(load_cifar10(folder=str(written.parent), files="any"), cifar_batches)


def test_the_default_folder_is_in_the_data_folder(written, cifar_batches, monkeypatch):
    monkeypatch.setenv("STEEPEST_DATA", str(written.parent.parent))
    assert_loaded(load_cifar10(files="any"), cifar_batches)


def test_values_of_a_record_are_three_planes_row_by_row(tmp_path, cifar_batches, write_binary_batches):
    write_binary_batches(tmp_path, cifar_batches)
    record = bytes([7]) + bytes(place % 251 for place in range(3072))
    (tmp_path / "test_batch.bin").write_bytes(record)
    _, _, images, labels = load_cifar10(folder=str(tmp_path), files="any")
    assert images.shape == (1, 32, 32, 3)
    for row, column, colour in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (5, 9, 2), (31, 31, 2)]:
        assert images[0, row, column, colour] == (1024 * colour + 32 * row + column) % 251
    assert labels.tolist() == [7]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("order", ["C", "F"])
def test_batches_that_python_3_pickled_are_read(
    protocol, order, cifar_batches, write_python_batches, tmp_path
):
    write_python_batches(tmp_path, cifar_batches)
    rows = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    batch = {b"data": np.asarray(rows, order=order), b"labels": [3, 8]}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, protocol=protocol))
    _, _, images, labels = load_cifar10(folder=str(tmp_path), files="any")
    np.testing.assert_array_equal(images, rows.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1))
    assert labels.tolist() == [3, 8]


def test_of_an_incomplete_version_and_a_whole_one_the_whole_one_is_read(
    tmp_path, cifar_batches, write_python_batches, write_binary_batches
):
    write_python_batches(tmp_path / "cifar-10-batches-py", cifar_batches)
    write_binary_batches(tmp_path / "cifar-10-batches-bin", cifar_batches)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    assert_loaded(load_cifar10(folder=str(tmp_path), files="any"), cifar_batches)


def pretend_published(monkeypatch, folder):
    """Let the batches in `folder` be the published ones."""
    versions = []
    for version in cifar10_files.VERSIONS:
        contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.name in version.batches}
        published = {
            name: Published(len(content), hashlib.md5(content).hexdigest())
            for name, content in sorted(contents.items())
        }
        versions.append(version._replace(batches=published or version.batches))
    monkeypatch.setattr(cifar10_files, "VERSIONS", tuple(versions))


def test_published_files_are_known_by_size_and_checksum(written, cifar_batches, monkeypatch):
    pretend_published(monkeypatch, written)
    assert_loaded(load_cifar10(folder=str(written)), cifar_batches)


def test_files_of_another_size_than_published_are_refused(written):
    with pytest.raises(
        ValueError, match=r"published 3[01],\d{3},\d{3} bytes .*files='any'.*found 1\d,\d{3} bytes"
    ):
        load_cifar10(folder=str(written))


def test_a_changed_byte_is_seen_by_the_checksum(written, monkeypatch):
    pretend_published(monkeypatch, written)
    path = next(written.glob("data_batch_3*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = hashlib.md5(content).hexdigest()
    with pytest.raises(ValueError, match=rf"MD5 checksum [0-9a-f]{{32}} .*{path.name}, found {found}"):
        load_cifar10(folder=str(written))
    load_cifar10(folder=str(written), files="any")


def test_the_published_binary_batches_hold_10_000_records_of_3073_bytes():
    python, binary = (version.batches for version in cifar10_files.VERSIONS)
    assert [published.size for published in binary.values()] == 6 * [10_000 * 3_073]
    # torchvision lists the checksum of this file; its label is one byte more than its values and a name
    assert all(published.size > 10_000 * 3_073 for published in python.values())
    assert len({published.md5 for published in (*python.values(), *binary.values())}) == 12


def rows(count=2, width=3072, dtype=np.uint8):
    return np.zeros((count, width), dtype)


class Malicious:
    """A pickle of it runs a command when it is read."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def pickled(*pieces):
    """A pickle of its opcodes and their arguments."""
    return b"\x80\x02" + b"".join(pieces) + pickle.STOP


def encoded(text, times):
    """Protocol 2 for bytes, their text once and their making many times."""
    made = [b"c_codecs\nencode\nh\0X\6\0\0\0latin1\x86R0"] * times
    return pickled(b"X", struct.pack("<I", len(text)), text.encode(), b"q\0", *made)


# a tuple of which each part is the one below twice: to hash it takes 2⁶⁰ steps
NESTED = b"NN\x86" + b"2\x86" * 60

# small files that would take long or grow large
BOMBS = {
    "hashes of a nested key": pickled(b"}", NESTED, b"Ns"),
    "hashes of nested keys": pickled(b"}(", NESTED, b"Nu"),
    "hashes of a nested member": pickled(pickle.EMPTY_SET, b"(", NESTED, pickle.ADDITEMS),
    "hashes of a frozen member": pickled(b"(", NESTED, pickle.FROZENSET),
    "keys of equal hashes": pickled(b"}(", *(b"L%d\nN" % (n * (2**61 - 1)) for n in range(60_000)), b"u"),
    "a key in the old form": b"(I1\nI2\nd.",
    "a memo of four billion places": pickled(b"Nr\xff\xff\xff\xff"),
    "a buffer as large as it says": pickle.PROTO
    + b"\5"
    + pickle.BYTEARRAY8
    + struct.pack("<Q", 2**60)
    + b".",
    "a text made again and again": encoded("a" * 1000, 1000),
    "a state for a function": pickled(b"cnumpy.core.multiarray\n_reconstruct\n}b"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_neither_takes_long_nor_grows_large(bomb, tmp_path, cifar_batches, write_python_batches):
    write_python_batches(tmp_path, cifar_batches)
    (tmp_path / "data_batch_2").write_bytes(BOMBS[bomb])
    assert_refused(tmp_path, "data_batch_2", "found (a dict|a state|more text|KeyError|a NoneType)")


# what is done to "data_batch_2" given its content and `pickle_batch`, and what the message says was found
PYTHON_CORRUPTIONS = {
    "truncated": (lambda content, batch: content[: len(content) // 2], "truncated"),
    "empty": (lambda content, batch: b"", "EOFError"),
    "too long": (lambda content, batch: content + b"abc", "3 bytes after its end"),
    "no pickle": (lambda content, batch: b"<html>404 not found</html>", "found"),
    "another object": (lambda content, batch: pickle.dumps([1, 2], 2), "a list"),
    "without data": (lambda content, batch: pickle.dumps({b"labels": [1]}, 2), "under 'data' a NoneType"),
    "labels that are no list": (lambda content, batch: batch(rows(), "ab"), "under 'labels' a bytes"),
    "labels that are no integers": (lambda content, batch: batch(rows(), [1.5, 2]), "under 'labels' a list"),
    "floats": (lambda content, batch: batch(rows(dtype=np.float32), [1, 2]), "b'f4' instead of unsigned"),
    "objects": (lambda content, batch: batch(rows(dtype=object), [1, 2]), "instead of unsigned bytes"),
    "rows of another width": (lambda content, batch: batch(rows(width=3071), [1, 2]), r"shape \(2, 3071\)"),
    "rows of rows": (lambda content, batch: batch(rows()[None], [1, 2]), r"shape \(1, 2, 3072\)"),
    "a label too high": (lambda content, batch: batch(rows(), [1, 10]), "1 others such as 10"),
    "a negative label": (lambda content, batch: batch(rows(), [-1, -2]), "2 others such as -1"),
    "a label too few": (lambda content, batch: batch(rows(3), [1, 2]), r"int64 of shape \(2,\)"),
    "a label without bounds": (lambda content, batch: batch(rows(1), [2**80]), "object of shape"),
    "no images": (lambda content, batch: batch(rows(0), []), "none"),
}
BINARY_CORRUPTIONS = {
    "truncated": (lambda content: content[:-1], "4 of them and 3,072 bytes"),
    "too long": (lambda content: content + b"a", "5 of them and 1 bytes"),
    "empty": (lambda content: b"", "at least one image.* found none"),
    "a label out of range": (lambda content: b"\x0a" + content[1:], "labels from 0 to 9.* such as 10"),
}


def assert_refused(folder, name, message):
    with pytest.raises(ValueError, match=message) as refused:
        load_cifar10(folder=str(folder), files="any")
    for part in ("cifar10: expected", str(folder / name), "found", "cs.toronto.edu", f"belong in {folder}"):
        assert part in str(refused.value)


@pytest.mark.parametrize("corruption", PYTHON_CORRUPTIONS)
def test_a_spoilt_python_batch_is_refused(
    corruption, tmp_path, cifar_batches, write_python_batches, pickle_batch
):
    write_python_batches(tmp_path, cifar_batches)
    spoil, message = PYTHON_CORRUPTIONS[corruption]
    path = tmp_path / "data_batch_2"
    path.write_bytes(spoil(path.read_bytes(), pickle_batch))
    assert_refused(tmp_path, "data_batch_2", message)


@pytest.mark.parametrize("corruption", BINARY_CORRUPTIONS)
def test_a_spoilt_binary_batch_is_refused(corruption, tmp_path, cifar_batches, write_binary_batches):
    write_binary_batches(tmp_path, cifar_batches)
    spoil, message = BINARY_CORRUPTIONS[corruption]
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(spoil(path.read_bytes()))
    assert_refused(tmp_path, "data_batch_2.bin", message)


def test_a_malicious_pickle_runs_nothing(tmp_path, cifar_batches, write_python_batches):
    write_python_batches(tmp_path, cifar_batches)
    trace = tmp_path / "trace"
    content = pickle.dumps({b"data": Malicious(f"touch {trace}"), b"labels": [1]}, protocol=2)
    (tmp_path / "data_batch_2").write_bytes(content)
    assert_refused(tmp_path, "data_batch_2", "asks for posix.system")
    assert not trace.exists()
    pickle.loads(content)
    assert trace.exists()


def test_missing_batches_are_named(written):
    next(written.glob("data_batch_4*")).unlink()
    next(written.glob("test_batch*")).unlink()
    ending = ".bin" if written.name.endswith("bin") else ""
    assert_refused(written, "", f"found no data_batch_4{ending}, test_batch{ending};")


def test_a_folder_that_is_not_there_is_named_with_both_formats(tmp_path):
    assert_refused(tmp_path / "nowhere", "", r"test_batch or .*test_batch\.bin.*found none of the files")


def test_a_batch_that_cannot_be_read_is_named(written, monkeypatch):
    def fail(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert_refused(written, "data_batch_1", "expected a file that can be read.*found Input/output error")


def test_a_choice_of_files_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"files must be one of \['published', 'any'\], got 'all'"):
        load_cifar10(folder=str(tmp_path), files="all")
