"""What a study leaves on disk and reads again: its journal, and a checkpoint."""

import itertools
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.doctor.oracles import Oracle
from experiments.doctor.room import existing_part
from experiments.study.storage.checkpoints import Checkpoints
from experiments.study.storage.journal import Journal, Row

ROWS = [
    Row(("doctor", "cosine", 0, "{}", 0), 0.1, {"warmup": 0.1}, 0.3, {"train_loss": 0.3}, 0.5),
    Row(("doctor", "cosine", 0, "{}", 1), 1e-30, {"warmup": 1 / 3}, float("inf"), {"train_loss": 1e300}, 0.5),
]


def _differing_rows(folder: Path) -> int:
    with tempfile.TemporaryDirectory(dir=existing_part(folder), prefix=".doctor-") as temporary:
        path = Path(temporary) / "journal.sqlite"
        with Journal(path) as journal:
            journal.record(ROWS)
        with Journal(path) as journal:
            read = journal.rows("doctor")
    return sum(row != recorded for row, recorded in itertools.zip_longest(read, ROWS))


def _differing_leaves(folder: Path) -> int:
    saved = {
        "params": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
        "momentum": np.full((2, 3), -1 / 3, jnp.bfloat16),
        "step": np.int32(12_345),
        "key": np.asarray(jax.random.key_data(jax.random.key(7))),
    }
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
    with tempfile.TemporaryDirectory(dir=existing_part(folder), prefix=".doctor-") as temporary:
        checkpoints = Checkpoints(Path(temporary) / "checkpoints")
        checkpoints.save(12_345, "doctor", saved)
        found, _ = checkpoints.newest("doctor", shapes)
    if found is None:
        return len(saved)
    return sum(leaf.tobytes() != found.saved[name].tobytes() for name, leaf in saved.items())


def round_trips(folder: Path) -> tuple[Oracle, ...]:
    """A journal and a checkpoint written where the folder is or would be, and read again; nothing is left."""
    return (
        Oracle("journal", "rows that come back different", lambda: _differing_rows(folder), (0,), 0),
        Oracle("checkpoint", "arrays that come back different", lambda: _differing_leaves(folder), (0,), 0),
    )
