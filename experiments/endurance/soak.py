"""A study of very many runs: does a chunk at its end cost what one at its beginning did?"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table

from experiments.endurance.apart import one_process
from experiments.endurance.measuring import Bar, scratch_folder, show_bars, watched
from experiments.shape_search import STUDY, Config
from experiments.study.options.checks import Checked, Count, at_least
from experiments.study.options.pairs import Folder
from experiments.study.storage.folder import StudyFolder
from experiments.study.storage.journal import Journal
from experiments.throughput.memory import resident

CHUNK = 256  # runs
BATCH, TOP, SELECT, CONFIRM = 64, 4, 32, 128  # that each stage of two families is whole chunks
FRESH = 2 * CHUNK  # runs after the screening
SETTLED = 5_000  # runs after which memory should no longer grow
MAX_GROWTH, MAX_RATIO = 0.05, 1.1
SLICES = 10  # of all chunks, each a row of the table


class Soaked(NamedTuple):
    """A finished study, a value a chunk, and its journal.

    Attributes:
      seconds: from the end of the chunk before, or the beginning, to the end of this one.
      resident: bytes of the process's memory at its end.
      journal_bytes: the size of the file.
      queries: the seconds that each takes.
    """

    seconds: Float[np.ndarray, "chunks"]
    resident: Int[np.ndarray, "chunks"]
    journal_bytes: int
    queries: dict[str, float]

    @property
    def runs(self) -> int:
        return CHUNK * len(self.seconds)

    @property
    def growth(self) -> float:
        """The most memory from SETTLED runs on over that at SETTLED runs, less one."""
        settled = self.resident[-(-SETTLED // CHUNK) - 1 :]
        return float(settled.max() / settled[0] - 1)

    @property
    def slowdown(self) -> float:
        """The median seconds of the last tenth of the chunks over that of the first."""
        first, *_, last = np.array_split(self.seconds, SLICES)
        return float(np.median(last) / np.median(first))


@dataclass(frozen=True)
class Soak(Checked):
    """Make one study of very many short runs, a shape search of linear regression, and see whether its memory
    and the time of a chunk stay the same; what its journal takes is told too."""

    runs: Annotated[Count, at_least(SETTLED + 1)] = 50_000
    """How many, at least."""
    folder: Folder | None = None
    """Where the study is kept; a temporary folder when not given."""

    def report(self, console: Console) -> bool:
        """Print memory and time along the study, and its queries; returns whether all bars held."""
        with scratch_folder(self.folder) as scratch, one_process(scratch / "compiled") as pool:
            soaked = pool.submit(soak, config(self.runs), scratch).result()
        console.print(_table(soaked))
        console.print(f"{soaked.runs:,} runs in {soaked.seconds.sum():.0f} s, {_journal_text(soaked)}")
        return show_bars(bars(soaked), console)


def config(runs: int) -> Config:
    """A search of at least so many runs, in whole chunks."""
    batches = -(-max(runs - FRESH, 1) // CHUNK)
    return Config(
        workload="linear_regression",
        workload_options={"dimension": 32},
        families=("cosine", "constant"),
        optimizer="sgd",
        batch_size=4,
        num_steps=100,
        learning_rates=(0.1, 4.0),
        strategy="random",
        candidates=BATCH * batches,
        batch=BATCH,
        rung_replicates=(2,),
        top=TOP,
        select_replicates=SELECT,
        confirm_replicates=CONFIRM,
        checked=0,
        vectorize=32,
    )


def soak(config: Config, scratch: Path) -> Soaked:
    """Make the study in `scratch`, in this process."""
    ends, memory = [time.perf_counter()], []

    def after_chunk(_):
        ends.append(time.perf_counter())
        memory.append(resident("VmRSS"))

    folder = scratch / "study"
    with watched(Journal, "record", after_chunk):
        STUDY.run(config, folder, chunk_runs=CHUNK)
    journal = StudyFolder(folder).journal
    return Soaked(np.diff(ends), np.array(memory), journal.stat().st_size, _queries(journal))


def bars(soaked: Soaked) -> list[Bar]:
    """What is asked of memory and time."""
    return [
        Bar(
            f"memory grows by less than {MAX_GROWTH:.0%} after {SETTLED:,} runs",
            f"{100 * soaked.growth:.1f} %",
            soaked.growth < MAX_GROWTH,
        ),
        Bar(
            f"a chunk of the last tenth takes at most {MAX_RATIO} × the seconds of one of the first",
            f"{soaked.slowdown:.2f} ×",
            soaked.slowdown <= MAX_RATIO,
        ),
    ]


def _queries(path: Path) -> dict[str, float]:
    opened, seconds = _timed(lambda: Journal(path))
    with opened as journal:
        asked = {
            "scores()": journal.scores,
            "rows('screen')": lambda: journal.rows("screen"),
            "counts()": journal.counts,
        }
        return {"open and verify": seconds, **{name: _timed(query)[1] for name, query in asked.items()}}


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    value = call()
    return value, time.perf_counter() - begun


def _table(soaked: Soaked) -> Table:
    table = Table("runs", "ms a chunk", "range", "memory, MB")
    end = 0
    for seconds, memory in zip(
        np.array_split(soaked.seconds, SLICES), np.array_split(soaked.resident, SLICES), strict=True
    ):
        end += len(seconds)
        low, median, high = 1e3 * np.quantile(seconds, (0, 0.5, 1))
        table.add_row(
            f"{CHUNK * end:,}", f"{median:.1f}", f"{low:.1f} to {high:.1f}", f"{1e-6 * memory[-1]:.0f}"
        )
    return table


def _journal_text(soaked: Soaked) -> str:
    queries = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in soaked.queries.items())
    size = soaked.journal_bytes
    return f"a journal of {1e-6 * size:.1f} MB ({size / soaked.runs:.0f} bytes a run): {queries}."
