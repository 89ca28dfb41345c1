"""The confirming runs of a contestant along their examples, read back from the journal."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.adaptive_batch_size.config import Config
from experiments.adaptive_batch_size.strategies import Contestant, contestants
from experiments.adaptive_batch_size.training import BATCH_SIZE, NOISE, RATE_FACTOR, SIGNAL, UPDATES
from experiments.study.storage.journal import Journal
from experiments.study.training.tuning import CONFIRM

Values = Float[np.ndarray, "replicates points"]


class Curves(NamedTuple):
    """What was recorded at each of `config.curve_samples`, a row a replicate.

    Attributes:
      losses: the metric that is minimised; +inf where it is not finite.
      updates: made so far.
      batch_sizes: of the batch that is next.
      rate_factors: what multiplies the scheduled learning rate.
      noise: the average of noise² in the geometry that drives the batch; NaN before it is measured, and where
        nothing is.
      signal: that of signal².
    """

    losses: Values
    updates: Values
    batch_sizes: Values
    rate_factors: Values
    noise: Values
    signal: Values


def read_curves(journal: Journal, config: Config) -> dict[str, Curves]:
    """By the contestant's name."""
    runs: dict[str, list[Mapping[str, float]]] = {}
    for (_, name, *_), metrics in journal.metrics(CONFIRM).items():
        runs.setdefault(name, []).append(metrics)
    return {
        str(contestant): _curves(contestant, runs[str(contestant)], config)
        for contestant in contestants(config)
    }


def _curves(contestant: Contestant, runs: list[Mapping[str, float]], config: Config) -> Curves:
    def values(name: str, constant: float = np.nan) -> Values:
        return np.array([[run.get(f"{name}@{at}", constant) for at in config.curve_samples] for run in runs])

    losses = values(config.metric)
    return Curves(
        np.where(np.isfinite(losses), losses, np.inf),
        values(UPDATES),
        values(BATCH_SIZE, contestant.batch_size(config)),
        values(RATE_FACTOR, 1.0),
        values(NOISE),
        values(SIGNAL),
    )
