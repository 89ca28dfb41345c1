"""Streams that are closed, broken, full or ASCII, and variables that JAX does not take: no traceback."""

import os
import subprocess
import sys

import jax
import pytest

import experiments.__main__ as studies
from experiments.shape_search import main as shape_search
from experiments.study.options.errors import StudyError
from experiments.study.running.devices import keep_compiled_programs, started_devices
from experiments.throughput import main as throughput
from tests.experiments.processes import ROOT, output_of

# what is opened next must not become the standard output, to which libraries print
NEXT_FILE = """
import os, sys
from experiments.study.running.entry import ended
def command():
    print("nowhere")
    os.system("echo nowhere")
    with open(sys.argv[1], "w") as file:
        os.write(1, b"nowhere")
        print("nowhere")
        return file.fileno() > 2
sys.exit(10 + ended(command))
"""
FULL = """
import sys
from experiments.study.running.entry import ended
def command():
    print("lost", flush=len(sys.argv) > 1)
    return 0
sys.exit(ended(command))
"""
RICH = """
import sys
from experiments.study.running.entry import ended
from experiments.study.showing.terminal import Terminal
sys.exit(ended(lambda: Terminal(80).print("lost")))
"""
NO_DEVICES = """
import os, sys
import jax
from experiments.study.options.errors import StudyError
from experiments.study.running.devices import started_devices
os.environ["JAX_PLATFORMS"] = sys.argv[1]
jax.config.update("jax_platforms", sys.argv[1])  # which JAX has read the variable for already
try:
    started_devices()
except StudyError as error:
    print(error)
"""


def shell(command, *arguments, **variables):
    """The status of a command of the shell, in which $0 is Python and $1 … are the arguments, and its
    errors."""
    process = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}", sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        timeout=60,
    )
    return process.returncode, process.stdout.decode(), process.stderr.decode()


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(tmp_path, closed):
    status, _, errors = shell(f'"$0" -c "$1" "$2" {closed}', NEXT_FILE, tmp_path / "file")
    assert (status, errors) == (11, "")
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("words", ["-m experiments", '-c "$1"'], ids=["print", "rich"])
def test_nobody_who_reads_ends_a_command_silently(words):
    """With the status of a process that SIGPIPE ended."""
    assert shell(f'"$0" {words} | true', RICH) == (128 + 13, "", "")


@pytest.mark.parametrize("flushed", ["", "now"])
def test_a_full_disk_behind_the_output_is_a_line(flushed):
    status, _, errors = shell(f'"$0" -c "$1" {flushed} >/dev/full', FULL)
    assert (status, errors) == (2, "error: [Errno 28] No space left on device\n")


def test_words_beyond_the_output_s_encoding_are_shown_escaped():
    status, output, errors = shell('"$0" -m experiments shäpe', PYTHONIOENCODING="ascii")
    assert (status, errors) == (2, "")
    assert r"there is no 'sh\xe4pe'" in output


@pytest.mark.parametrize("study", ["shape_search", "doctor"])
def test_a_variable_that_jax_does_not_take_is_named(study):
    status, output, errors = shell('"$0" -m experiments "$1"', study, JAX_NUM_CPU_DEVICES="abc")
    assert (status, errors) == (1 if study == "doctor" else 2, "")
    assert 'JAX does not start: Invalid value "abc" for JAX flag jax_num_cpu_devices' in output


def test_a_package_that_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "experiments.throughput", None)
    assert studies.main(["throughput"]) == 2
    assert "doctor` tells what is missing" in capsys.readouterr().out


@pytest.mark.parametrize("platform", ["foo", "cuda"])
def test_a_platform_without_devices_is_named(platform):
    assert output_of(NO_DEVICES, platform).startswith(
        f"JAX finds no devices (JAX_PLATFORMS is '{platform}'): "
    )


@pytest.mark.parametrize("error", [RuntimeError("Unable to initialize"), AssertionError()])
@pytest.mark.parametrize(
    ("main", "words"),
    [(shape_search, []), (shape_search, ["report", "runs"]), (throughput, [])],
    ids=["study", "report", "throughput"],
)
def test_every_command_says_that_there_are_no_devices(monkeypatch, capsys, main, words, error):
    def fail():
        raise error

    monkeypatch.setattr(jax, "devices", fail)
    monkeypatch.setattr(jax, "process_index", fail)  # which starts devices too
    with pytest.raises(StudyError, match="JAX finds no devices"):
        started_devices()
    assert main(words) == 2
    assert capsys.readouterr().out.startswith("error: JAX finds no devices")


def test_a_user_without_a_home_keeps_no_programs(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", no_home)
    cache = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", cache)
