"""The measured paths, what one path comes to, and the claims of arXiv:2306.11922 about it, with controls."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.path_geometry.config import BASELINE, PRESCRIBED, UNTUNED, Config
from experiments.study.options.errors import StudyError
from experiments.study.options.metrics import recorded_curves
from experiments.study.showing.claims import Bound, Claim, above, below
from experiments.study.statistics.curves import typical
from experiments.study.storage.journal import Journal
from geometry import PathGeometry
from schedules.search import Scale, Standing, median_change, median_estimate

VECTORS = ("gradient", "update", "random")  # what is measured: the batch's gradient, minus the step, noise
LABELS = TRUE_LABELS, RANDOM_LABELS = "true labels", "random labels"
NOISE = 1.96  # of a random direction's γ √d, 95 % lies within


class Group(NamedTuple):
    """Runs that differ by their seeds alone."""

    optimizer: str
    batch_size: int
    labels: str = TRUE_LABELS


Series = Mapping[str, Float[np.ndarray, "replicates probes"]]  # by name, such as "gradient_cosine"


class Paths(NamedTuple):
    """What was measured.

    Attributes:
      series: by group, a row a run, a column a probed step.
      parameters: how many each run trains.
      diverged: how many runs were left out, having diverged or shared the seed of one that did.
      inexact: how many replays did not end where the first pass did.
    """

    series: Mapping[Group, Series]
    parameters: int
    diverged: int
    inexact: int

    def cosines(self, group: Group, vector: str = "gradient") -> Float[np.ndarray, "replicates probes"]:
        return self.series[group][f"{vector}_cosine"]

    def random_deviation(self, groups: Iterable[Group]) -> float:
        """The root mean square of γ √d of the random directions; 1 is expected."""
        cosines = np.concatenate([self.cosines(group, "random").ravel() for group in groups])
        return float(np.sqrt(np.mean(cosines**2) * self.parameters))


def read_paths(journal: Journal, config: Config) -> Paths:
    """The paths in the journal; of each optimizer the replicates that are finite in all its groups.

    Raises StudyError where an optimizer has fewer than two such replicates.
    """
    runs: dict[Group, list[Mapping[str, float]]] = {
        Group(optimizer, size, labels): []
        for optimizer in config.optimizers
        for size in config.batch_sizes
        for labels in LABELS
    }
    for labels in LABELS:
        for row in journal.rows(labels):
            runs[Group(row.group, row.label["batch_size"], labels)].append(row.metrics)

    names = [f"{vector}_{quantity}" for vector in VECTORS for quantity in PathGeometry._fields]
    series = {
        group: {name: recorded_curves(name, config.probed_steps, measured) for name in names}
        for group, measured in runs.items()
    }
    finite = {name: _finite_replicates(name, series) for name in config.optimizers}
    every_run = [run for measured in runs.values() for run in measured]
    return Paths(
        {
            group: {name: values[finite[group.optimizer]] for name, values in measured.items()}
            for group, measured in series.items()
        },
        int(every_run[0]["parameters"]),
        sum(config.replicates - len(finite[group.optimizer]) for group in series),
        sum(run["exact_replay"] != 1 for run in every_run),
    )


def _finite_replicates(optimizer: str, series: Mapping[Group, Series]) -> Int[np.ndarray, "finite"]:
    measured = [
        values for group in series if group.optimizer == optimizer for values in series[group].values()
    ]
    finite = np.flatnonzero(np.all([np.isfinite(values).all(axis=1) for values in measured], axis=0))
    if len(finite) < 2:
        raise StudyError(f"learning_rates: nearly every run of {optimizer} diverged; lower its rate.")
    return finite


def random_walk_cosines(rates: Float[np.ndarray, "steps"]) -> Float[np.ndarray, "steps"]:
    """The cosine that each step of a random walk has with the way that is left to its own end.

    Independent steps of equal length times the rates: η_t / √(Σ_{s≥t} η_s²). So much a path shows without any
    geometry, because its reference is its end.

    >>> random_walk_cosines(np.ones(4)).round(3).tolist()
    [0.5, 0.577, 0.707, 1.0]
    """
    return rates / np.sqrt(np.cumsum(rates[::-1] ** 2)[::-1])


def walk_along(config: Config) -> Float[np.ndarray, "probes"]:
    """A random walk's cosines at the probed steps of the measured runs."""
    return random_walk_cosines(np.asarray(config.multipliers, float))[np.array(config.probed_steps)]


def late_to_early(values: Float[np.ndarray, "replicates probes"]) -> Float[np.ndarray, "replicates"]:
    """The median of a run's last third over that of its first."""
    third = values.shape[1] // 3
    return typical(values[:, -third:]) / typical(values[:, :third])


def relative_spread(values: Float[np.ndarray, "replicates probes"]) -> Float[np.ndarray, "replicates"]:
    """The range that the middle half of a run's measurements covers, over their median."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1)
    return (high - low) / median


SHARE, LOW, HIGH = 0.95, 0.5, 2.0
ALMOST_ALWAYS = Bound(f"at least {SHARE:g}", lambda effect: effect.low >= SHARE)
STABLE = Bound(f"in {LOW:g} to {HIGH:g}", lambda effect: effect.low >= LOW and effect.high <= HIGH)


def path_claims(paths: Paths, config: Config) -> list[Claim]:
    """The claims about γ, of every optimizer at the middle batch size with true labels, unless stated."""
    walk, claims = walk_along(config), []
    for optimizer in config.optimizers:
        claims += [
            *_along_training(optimizer, paths, config),
            *_comparisons(optimizer, "gradient", paths, config),
            _control(optimizer, walk, paths, config),
            *_comparisons(optimizer, "update", paths, config),
        ]
    return claims


def _along_training(optimizer: str, paths: Paths, config: Config) -> Iterable[Claim]:
    cosines = paths.cosines(Group(optimizer, config.middle_batch))
    outside_noise = cosines * np.sqrt(paths.parameters) > NOISE
    for statement, steps in (("γ > 0", cosines > 0), (f"γ √d > {NOISE}", outside_noise)):
        share = median_estimate(np.mean(steps, axis=1), config.confidence)
        yield Claim(f"share of steps with {statement}", optimizer, share, ALMOST_ALWAYS)
    ratio = median_estimate(late_to_early(cosines), config.confidence)
    yield Claim("γ, last third over first", optimizer, ratio, STABLE)


def _comparisons(optimizer: str, vector: str, paths: Paths, config: Config) -> Iterable[Claim]:
    def medians(*group: int | str) -> Float[np.ndarray, "replicates"]:
        return typical(paths.cosines(Group(optimizer, *group), vector))

    sizes, confidence = config.batch_sizes, config.confidence
    true, random = medians(config.middle_batch), medians(config.middle_batch, RANDOM_LABELS)
    scale = Scale.of(*map(medians, sizes), random)
    rises = [median_change(medians(b), medians(a), confidence, scale) for a, b in pairwise(sizes)]
    rising = Bound("above 0 at each size", lambda effect: all(rise.low > 0 for rise in rises))
    growth = median_change(medians(sizes[-1]), medians(sizes[0]), confidence, scale)
    name = "γ" if vector == "gradient" else f"{vector}'s γ"
    yield Claim(f"{scale.noun} of {name}, batch {sizes[0]} to {sizes[-1]}", optimizer, growth, rising)
    change = median_change(true, random, confidence, scale)
    yield Claim(f"{scale.noun} of {name}, random labels to true", optimizer, change, above(0))


def _control(optimizer: str, walk: Float[np.ndarray, "probes"], paths: Paths, config: Config) -> Claim:
    updates = paths.cosines(Group(optimizer, config.middle_batch), "update")
    ratio = median_estimate(typical(updates / walk), config.confidence)
    return Claim("update's γ over a random walk's", optimizer, ratio, above(1))


def schedule_claims(standings: Sequence[Standing], metric: str) -> list[Claim]:
    """Whether the prescribed schedule ends below the baseline that was searched with as many runs."""
    by_name = {standing.name: standing for standing in standings}
    statement = f"{by_name[BASELINE].scale.noun} of {metric} from {BASELINE}"
    return [
        Claim(statement, name, by_name[name].against[BASELINE], below(0)) for name in (UNTUNED, PRESCRIBED)
    ]
