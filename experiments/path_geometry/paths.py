"""The measured paths, and what one path comes to."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.path_geometry.config import Config
from experiments.path_geometry.passes import LABELS, VECTORS
from experiments.study.options.errors import StudyError
from experiments.study.running.runs import UnfinishedStudy
from experiments.study.storage.journal import Journal
from geometry import PathGeometry

NOISE = 1.96  # of a random direction's γ √d, 95 % lies within


class Group(NamedTuple):
    """Runs that differ by their seeds alone."""

    optimizer: str
    batch_size: int
    labels: str


class Paths(NamedTuple):
    """What was measured.

    Attributes:
      series: by group and then by name, such as "gradient_cosine": a row a run, a column a probed step.
      parameters: how many each run trains.
      diverged: how many runs were left out, having diverged or shared the seed of one that did.
      inexact: how many replays did not end where the first pass did.
    """

    series: Mapping[Group, Mapping[str, Float[np.ndarray, "replicates probes"]]]
    parameters: int
    diverged: int
    inexact: int

    def cosines(self, group: Group, vector: str = "gradient") -> Float[np.ndarray, "replicates probes"]:
        return self.series[group][f"{vector}_cosine"]


def read_paths(journal: Journal, config: Config) -> Paths:
    """The paths in the journal; of each optimizer the replicates that are finite in all its groups.

    Raises:
      UnfinishedStudy: measured runs are missing.
      StudyError: an optimizer has fewer than two such replicates.
    """
    rows = {identity: row for labels in LABELS for identity, row in journal.metrics(labels).items()}
    groups = [
        Group(o, size, labels) for o in config.optimizers for size in config.batch_sizes for labels in LABELS
    ]
    missing = len(groups) * config.replicates - len(rows)
    if missing:
        raise UnfinishedStudy(f"{missing} measured runs are missing")
    names = [f"{vector}_{quantity}" for vector in VECTORS for quantity in PathGeometry._fields]

    def table(group: Group, name: str) -> np.ndarray:
        runs = (rows[group.labels, group.optimizer, group.batch_size, 0, r] for r in range(config.replicates))
        return np.array([[run[f"{name}@{step}"] for step in config.probed_steps] for run in runs])

    series = {group: {name: table(group, name) for name in names} for group in groups}
    kept = {
        o: _finite_replicates([of for g, of in series.items() if g.optimizer == o]) for o in config.optimizers
    }
    for optimizer, replicates in kept.items():
        if len(replicates) < 2:
            raise StudyError(f"learning_rates: nearly every run of {optimizer} diverged; lower its rate.")
    return Paths(
        {g: {name: values[kept[g.optimizer]] for name, values in of.items()} for g, of in series.items()},
        int(next(iter(rows.values()))["parameters"]),
        sum(config.replicates - len(kept[group.optimizer]) for group in groups),
        sum(row["exact_replay"] != 1 for row in rows.values()),
    )


def _finite_replicates(groups: list[Mapping[str, np.ndarray]]) -> np.ndarray:
    finite = [np.isfinite(values).all(axis=1) for of_group in groups for values in of_group.values()]
    return np.flatnonzero(np.all(finite, axis=0))


def random_walk_cosines(rates: Float[np.ndarray, "steps"]) -> Float[np.ndarray, "steps"]:
    """The cosine that each step of a random walk has with the way that is left to its own end.

    Independent steps of equal length times the rates: η_t / √(Σ_{s≥t} η_s²). So much a path shows without any
    geometry, because its reference is its end.

    >>> random_walk_cosines(np.ones(4)).round(3).tolist()
    [0.5, 0.577, 0.707, 1.0]
    """
    return rates / np.sqrt(np.cumsum(rates[::-1] ** 2)[::-1])


def typical(values: Float[np.ndarray, "replicates probes"]) -> Float[np.ndarray, "replicates"]:
    """The median along each run."""
    return np.median(values, axis=1)


def late_to_early(values: Float[np.ndarray, "replicates probes"]) -> Float[np.ndarray, "replicates"]:
    """The median of a run's last third over that of its first."""
    third = values.shape[1] // 3
    return typical(values[:, -third:]) / typical(values[:, :third])


def relative_spread(values: Float[np.ndarray, "replicates probes"]) -> Float[np.ndarray, "replicates"]:
    """The range that the middle half of a run's measurements covers, over their median."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1)
    return (high - low) / middle
