"""The command line of the calibration."""

import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.calibration.landscapes import ALL, KINDS, NUM_STEPS, SEARCHED, Landscape
from experiments.study.command import told
from experiments.study.options.checks import Checked, Confidence, Count, Several
from experiments.study.options.pairs import parsed
from schedules.search import Rung, Scale, challenge, confirm
from schedules.search.curves import Exploration, explore, model_of, ranked
from schedules.search.pool import places_of

BATCH, CONFIRMED = 8, 8  # runs that share a seed, and runs that confirm


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """How often does the verdict's bound hold the truth? On bowls, draws of Gaussian processes with other
    length scales than the model expects, and expected losses of linear regression, all with seeds' luck;
    every other landscape of each kind has scores of any sign."""

    landscapes: Several = 100
    """Of each kind."""
    explored: Count = 40
    """Runs of a search."""
    challenged: Count = 240
    """Runs that challenge its winner."""
    confidence: Confidence = 0.95
    """Of the verdicts."""


class Bounded(NamedTuple):
    """What the best of all curves truly saves, and the bound on it: of the score, or where that may be
    negative in its unit."""

    truth: float
    bound: float

    @property
    def held(self) -> bool:
        return self.truth <= self.bound


def bounded(landscape: Landscape, options: Options) -> Bounded:
    """Search a landscape, and challenge the winner."""
    key = jax.random.key(landscape.number)
    exploration = Exploration(options.explored, BATCH, rounds=0, top=1, num_steps=NUM_STEPS)
    scores = explore(SEARCHED, exploration, key, landscape.evaluate)
    best = ranked(scores, model_of(scores))[0]
    winner = confirm({"best": best}, Rung(CONFIRMED, NUM_STEPS), landscape.evaluate)["best"]
    runs, confidence = options.challenged, options.confidence
    verdict, _ = challenge(winner, SEARCHED, scores, runs, confidence, key, landscape.evaluate)
    better = verdict.own.found if verdict.improved else best
    saved = landscape.level(better) - landscape.lowest(places_of(ALL, [better]))
    return Bounded(-math.expm1(-saved) if verdict.scale is Scale.RELATIVE else saved, verdict.delta)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)

    def command(console: Console) -> None:
        options = parsed(Options, words, prog="steepest calibration")
        table = Table("landscapes", "scores", "bound holds", "median bound", "median truth", "bound / truth")
        for kind in KINDS:
            for positive in (True, False):
                numbers = range(int(not positive), options.landscapes, 2)
                results = [bounded(Landscape.of(kind, number, positive), options) for number in numbers]
                truth, bound = np.median(results, axis=0)
                held = sum(result.held for result in results)
                row = f"{held} of {len(results)}", f"{bound:.3f}", f"{truth:.3f}", f"{bound / truth:.1f}"
                table.add_row(kind, "positive" if positive else "of any sign", *row)
        console.print(table)

    return told(command, width=110)
