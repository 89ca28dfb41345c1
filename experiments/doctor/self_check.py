"""The self-check: what the code finds here against what is stored, within ten seconds."""

import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from experiments.doctor.findings import Finding, probed
from experiments.doctor.oracles import FIGURES, Oracle
from experiments.doctor.round_trips import round_trips
from experiments.doctor.sweeps import SWEEPS


def look(folder: Path) -> Iterator[Finding]:
    """A finding for each stored oracle; the files are written on the disk where studies would be."""
    for oracle in (*FIGURES, *SWEEPS, *round_trips(folder)):
        yield from probed(oracle.name, lambda oracle=oracle: [checked(oracle)])


def checked(oracle: Oracle) -> Finding:
    """What the code finds, in full precision of matrix products, and how long it takes to.

    >>> checked(Oracle("half", "by hand", lambda: 0.75, (0.5,), 0.1)).found
    'by hand: 0.75, where 0.5 ± 0.1 is expected'
    """
    begun = time.perf_counter()
    with jax.default_matmul_precision("highest"):
        found = np.ravel(np.asarray(oracle.compute(), np.float64))
    seconds = time.perf_counter() - begun
    expected = np.asarray(oracle.expected, np.float64)
    failing = ~(np.abs(found - expected) <= oracle.tolerance)  # what is not a number is off too
    if not failing.any():
        figure = f": {found[0]:.4g}" if len(found) == 1 else ""
        return Finding(oracle.name, f"{oracle.derivation}{figure} ({seconds:.1f} s)")
    first = np.argmax(failing)
    expectation = f"{expected[first]:.7g} ± {oracle.tolerance:g} is expected"
    return Finding(oracle.name, f"{oracle.derivation}: {found[first]:.7g}, where {expectation}", stops=True)
