"""Successive halving replayed on recorded runs: every criterion sees the same runs, so budgets are equal."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from experiments.generalization.config import FRESH, HALVE, Candidate, Config, Trial, candidates
from experiments.generalization.measures import CHEAP
from experiments.study.options.metrics import curve_metric
from experiments.study.storage.journal import Identity
from schedules.search import named_key

Records = Mapping[Identity, Mapping[str, float]]

PREDICTED = {f"train_loss + {name} / n": name for name in CHEAP}  # the test loss, as the criterion says
CRITERIA = (*PREDICTED, "validation_loss", "train_loss", "random")
BASELINES = ("random", "train_loss", "validation_loss")


class Replayed(NamedTuple):
    """What a criterion chose.

    Attributes:
      chosen: the candidate that remained, by replay.
      scores: the median test loss of that candidate over fresh seeds, by replay; +inf where it diverges.
    """

    chosen: tuple[Candidate, ...]
    scores: Float[np.ndarray, "replays"]


def halve(scores: Float[np.ndarray, "rungs candidates"]) -> int:
    """The candidate that remains when each rung but the last keeps the better half; lower is better.

    Half of an odd number is rounded up; of equal scores the earlier candidate stays.

    >>> halve(np.array([[3.0, 1.0, 2.0, 4.0], [0.0, 5.0, 4.0, 0.0]]))
    2
    """
    remaining = np.arange(scores.shape[1])
    for rung in scores[:-1]:
        better = np.argsort(rung[remaining], kind="stable")[: -(-len(remaining) // 2)]
        remaining = remaining[np.sort(better)]
    return int(remaining[np.argmin(scores[-1, remaining])])


def share_of_budget(num_candidates: int, rungs: Sequence[int]) -> float:
    """The steps that successive halving takes, over those of training every candidate to the end."""
    steps, begun, remaining = 0, 0, num_candidates
    for rung in rungs:
        steps += remaining * (rung - begun)
        begun, remaining = rung, -(-remaining // 2)
    return steps / (num_candidates * rungs[-1])


def replay(config: Config, halved: Records, fresh: Records) -> dict[str, Replayed]:
    """Every criterion's choices over all replays, with their scores on fresh seeds."""
    tried = candidates(config)
    replicates = range(config.halving_replicates)

    def metrics(records: Records, stage: str, replicate: int) -> list[Mapping[str, float]]:
        return [records[Trial(stage, s, config.halving_size, replicate).identity] for s in tried]

    losses = np.array([[run[config.score] for run in metrics(fresh, FRESH, r)] for r in replicates])
    medians = np.median(np.where(np.isfinite(losses), losses, np.inf), axis=0)
    recorded = [metrics(halved, HALVE, r) for r in replicates]
    result = {}
    for criterion in CRITERIA:
        remaining = [halve(_scores(criterion, config, runs, r)) for r, runs in enumerate(recorded)]
        result[criterion] = Replayed(tuple(tried[k] for k in remaining), medians[remaining])
    return result


def _scores(
    criterion: str, config: Config, runs: Sequence[Mapping[str, float]], replicate: int
) -> Float[np.ndarray, "rungs candidates"]:
    """What the criterion says of every candidate at every rung; +inf where that is no number."""
    if criterion == "random":
        key = named_key(jax.random.key(config.seed), "random", replicate)
        return np.asarray(jax.random.uniform(key, (len(config.rungs), len(runs))))

    def score(run: Mapping[str, float], step: int) -> float:
        if criterion in PREDICTED:
            information = run[curve_metric(PREDICTED[criterion], step)]
            return run[curve_metric("train_loss", step)] + information / config.halving_size
        return run[curve_metric(criterion, step)]

    scores = np.array([[score(run, step) for run in runs] for step in config.rungs])
    return np.where(np.isfinite(scores), scores, np.inf)
