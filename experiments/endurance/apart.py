"""Small forms of studies in processes that start at once: forked from one that has imported everything."""

import functools
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

import jax

from experiments.studies import QUESTIONS, load
from experiments.study.options.checks import EACH_ONCE, entries
from experiments.study.options.errors import StudyError
from experiments.study.running.devices import one_device_per_core, started_devices
from experiments.study.running.stopping import follow_parent


class SmallStudy(NamedTuple):
    """A study by name, and the words of a command line that make it one of seconds, in enough chunks that a
    kill falls between two."""

    study: str
    words: str


STUDIES: Mapping[str, SmallStudy] = MappingProxyType(
    {name: SmallStudy(study, words) for study in QUESTIONS for name, words in load(study).small.items()}
)
Studies = Annotated[tuple[Literal[tuple(STUDIES)], ...], entries(1), EACH_ONCE]


@functools.cache
def forkserver() -> ForkServerContext:
    """Starts processes in which every study and measurement is imported, and JAX has not looked for devices
    yet."""
    context = multiprocessing.get_context("forkserver")
    studies = sorted({f"experiments.{study.study}" for study in STUDIES.values()})
    context.set_forkserver_preload([*studies, "experiments.endurance.command"])
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # while they import too
    multiprocessing.forkserver.ensure_running()
    signal.signal(signal.SIGINT, handler)
    return context


def one_process(compiled: Path) -> ProcessPoolExecutor:
    """A process of its own to call functions in, with a device per core; its programs are kept too."""
    return ProcessPoolExecutor(1, mp_context=forkserver(), initializer=_prepare, initargs=(compiled,))


def check_devices() -> None:
    """Raises StudyError where JAX has no devices; this process leaves them to those that it starts."""
    with ProcessPoolExecutor(1, mp_context=forkserver(), initializer=follow_parent) as pool:
        pool.submit(_start_devices).result()


def start(
    study: SmallStudy, folder: Path, compiled: Path, *words: str, devices: int | None = None
) -> BaseProcess:
    """Start the study's command in `folder`, with `words` behind its own; what it prints goes to
    `output_of(folder)`.

    Its compiled programs, all of them, are kept in the folder `compiled`. It has so many devices, one a core
    when None.
    """
    process = forkserver().Process(target=_command, args=(study, folder, compiled, words, devices))
    process.start()
    return process


def finish(study: SmallStudy, folder: Path, compiled: Path, *words: str, devices: int | None = None) -> float:
    """The seconds that the study takes to its end. Raises StudyError where it does not end well."""
    begun = time.perf_counter()
    ended_well(start(study, folder, compiled, *words, devices=devices), folder)
    return time.perf_counter() - begun


def ended_well(process: BaseProcess, folder: Path) -> None:
    """Wait for the end of a study's process. Raises StudyError where that is not a good one."""
    process.join()
    if process.exitcode:
        output = output_of(folder).read_text().strip().splitlines()
        raise StudyError(f"it ended with {process.exitcode}: {' '.join(output[-3:])}")


def output_of(folder: Path) -> Path:
    """Where the output of a study is kept: beside its folder."""
    return folder.with_name(f"{folder.name}.log")


def _command(
    study: SmallStudy, folder: Path, compiled: Path, words: Sequence[str], devices: int | None
) -> None:
    follow_parent()
    with output_of(folder).open("a") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    keep_all_programs(compiled)
    if devices is not None:
        jax.config.update("jax_num_cpu_devices", devices)
    sys.exit(load(study.study).main([*study.words.split(), *words, "--folder", str(folder)]))


def _start_devices() -> None:
    started_devices()


def _prepare(compiled: Path) -> None:
    follow_parent()
    one_device_per_core()
    keep_all_programs(compiled)


def keep_all_programs(compiled: Path) -> None:
    """Keep what this process compiles in that folder, however small or quick it was."""
    jax.config.update("jax_compilation_cache_dir", str(compiled))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
