"""CIFAR-10-C in NumPy's files, whole and spoilt."""

import numpy as np
import pytest

from workloads.datasets.cifar10_c import CORRUPTIONS, load_cifar10_c

COUNT = 4  # images at each severity


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(5 * COUNT, 32, 32, 3), dtype=np.uint8)
    return images, np.tile(rng.integers(10, size=COUNT), 5)


@pytest.fixture
def folder(tmp_path, arrays):
    """A folder with two corruptions, one the other backwards."""
    images, labels = arrays
    path = tmp_path / "cifar10_c" / "CIFAR-10-C"
    path.mkdir(parents=True)
    np.save(path / "fog.npy", images)
    np.save(path / "snow.npy", images[::-1].copy())
    np.save(path / "labels.npy", labels.astype(np.uint8))
    return path


@pytest.mark.parametrize("severity", range(1, 6))
def test_a_severity_is_its_block_of_the_file(severity, folder, arrays):
    images, labels = load_cifar10_c("fog", severity, folder=str(folder), files="any")
    rows = slice((severity - 1) * COUNT, severity * COUNT)
    np.testing.assert_array_equal(images, arrays[0][rows])
    np.testing.assert_array_equal(labels, arrays[1][rows])
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32


def test_the_folder_of_the_archive_and_the_default_one_are_found(folder, arrays, monkeypatch):
    images, _ = load_cifar10_c("snow", 1, folder=str(folder.parent), files="any")
    np.testing.assert_array_equal(images, arrays[0][::-1][:COUNT])
    monkeypatch.setenv("STEEPEST_DATA", str(folder.parent.parent))
    np.testing.assert_array_equal(load_cifar10_c("snow", 1, files="any")[0], images)


def test_there_are_nineteen_corruptions():
    assert len(set(CORRUPTIONS)) == 19


def test_a_file_of_version_2_is_read(folder, arrays):
    with (folder / "fog.npy").open("wb") as file:
        np.lib.format.write_array(file, arrays[0], version=(2, 0))
    np.testing.assert_array_equal(
        load_cifar10_c("fog", 5, folder=str(folder), files="any")[0], arrays[0][-COUNT:]
    )


@pytest.mark.parametrize(
    ("corruption", "severity", "message"),
    [
        ("rain", 1, "cifar10_c: corruption must be one of .*'fog'.*got 'rain'"),
        ("fog", 0, "cifar10_c: severity must be from 1 to 5, got 0"),
        ("fog", 6, "cifar10_c: severity must be from 1 to 5, got 6"),
        ("frost", 1, r"a file that can be read in .*frost\.npy, found No such file .*zenodo"),
    ],
)
def test_what_is_not_there_is_refused(corruption, severity, message, folder):
    with pytest.raises(ValueError, match=message):
        load_cifar10_c(corruption, severity, folder=str(folder), files="any")


def test_other_numbers_of_images_than_the_published_are_refused_unless_any_will_do(folder):
    with pytest.raises(
        ValueError, match=r"bytes of shape \(n, 32, 32, 3\), n = 50,000 .*found uint8 of shape \(20,"
    ):
        load_cifar10_c("fog", 1, folder=str(folder))


@pytest.mark.parametrize("kept", [0, 5, 60, 1000, -1])
def test_a_file_that_was_cut_is_refused(kept, folder):
    content = (folder / "fog.npy").read_bytes()
    (folder / "fog.npy").write_bytes(content[:kept])
    with pytest.raises(ValueError, match=r"cifar10_c: expected .*fog\.npy, found .*CIFAR-10-C"):
        load_cifar10_c("fog", 1, folder=str(folder), files="any")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 3, 32, 32), np.uint8), r"bytes of shape .* found uint8 of shape \(5, 3, 32, 32\)"),
        (np.zeros((7, 32, 32, 3), np.uint8), r"n a multiple of 5 .* found uint8 of shape \(7, 32, 32, 3\)"),
        (np.zeros((5, 32, 32, 3), np.int64), r"found int64 of shape \(5, 32, 32, 3\)"),
        (np.zeros((0, 32, 32, 3), np.uint8), "at least one image"),
        (np.zeros((), np.uint8), r"found uint8 of shape \(\)"),
        (np.zeros((5, 32, 32, 3)), "whole numbers, the last axis fastest .* found float64"),
        (np.asfortranarray(np.zeros((5, 32, 32, 3), np.uint8)), "Fortran order: True"),
        (np.array([{}], object), "whole numbers, .* found object"),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(array, message, folder):
    np.save(folder / "fog.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        load_cifar10_c("fog", 1, folder=str(folder), files="any")


def test_a_header_that_promises_more_than_there_is_makes_no_array(folder):
    with (folder / "fog.npy").open("wb") as file:
        header = {"shape": (10**12, 32, 32, 3), "fortran_order": False, "descr": "|u1"}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=r"expected 3,072,000,000,000,000 bytes .*, found 0 bytes"):
        load_cifar10_c("fog", 1, folder=str(folder), files="any")


def test_fewer_labels_than_images_are_refused(folder):
    np.save(folder / "labels.npy", np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match=r"20 whole numbers, one label for each image in .*labels\.npy"):
        load_cifar10_c("fog", 1, folder=str(folder), files="any")
