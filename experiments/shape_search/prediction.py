"""What a model of curves says of schedules that were never run, and which of them would be tried next."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from schedules import CurveModel
from schedules.search import Candidate, Estimate, SearchSpace, Trial, named_key
from schedules.search.curves import DRAWN, Scores, leading, num_steps_of, ranked
from schedules.search.pool import places_of, pool_of, promising, proposals_at
from schedules.search.strategy import numpy_generator

DRAWS = 20_000  # functions that a curve and the one it is compared with are drawn under
BATCH = 8  # candidates that would be tried next


class Prediction(NamedTuple):
    """Of a schedule's score, with intervals.

    Attributes:
      run: of a run with a new seed.
      typical: of the median over seeds.
      change: of that from the one of the schedule that it is compared with, on the scale of the scores.
      lower: the probability that it is lower than that.
    """

    run: Estimate
    typical: Estimate
    change: Estimate
    lower: float


def predictions(
    model: CurveModel,
    curves: Float[np.ndarray, "curves steps"],
    reference: Float[np.ndarray, "steps"],
    confidence: float,
    key: PRNGKeyArray,
) -> list[Prediction]:
    """What the model says of each curve, compared with a reference under the same functions.

    Raises ValueError for curves as `CurveModel.fit` does.
    """
    scale, tails = model.values.scale, np.array([0.5, (1 - confidence) / 2, (1 + confidence) / 2])
    run, typical = (scale.scores(model.quantiles(curves, tails, observed)) for observed in (True, False))
    # in pairs: so no other curve decides what is said of one
    pairs = (scale.scores(model.sample(np.stack([reference, curve]), key, DRAWS)).T for curve in curves)
    changes = np.stack([scale.changes(drawn, compared) for compared, drawn in pairs])
    estimates = (
        [Estimate(*ends) for ends in quantiles.T.tolist()]
        for quantiles in (run, typical, np.quantile(changes, tails, axis=1, method="inverted_cdf"))
    )
    return [
        Prediction(*parts) for parts in zip(*estimates, np.mean(changes < 0, axis=1).tolist(), strict=True)
    ]


def next_batch(
    spaces: Mapping[str, SearchSpace], scores: Scores, model: CurveModel, key: PRNGKeyArray
) -> list[dict[str, Any]]:
    """What a search would try if it went on, as JSON values: of a pool, the candidate of the lowest mean, and
    those that are the best under functions drawn from the posterior."""
    parents = places_of(spaces, leading(ranked(scores, model)))
    pool = pool_of(spaces, parents, DRAWN, num_steps_of(scores), numpy_generator(named_key(key, "pool")))
    return proposals_at(spaces, pool, promising(model, pool, BATCH, named_key(key, "functions")))


def curve_of(candidate: Candidate, num_steps: int) -> Float[np.ndarray, "steps"]:
    """The learning rate of every step, as a run of the candidate has it."""
    return Trial("", candidate, num_steps, 0).learning_rates
