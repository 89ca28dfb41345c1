"""What a model of curves says of runs when it is told of no run of their group: cross-validation by groups.

With the covariance K of all runs, P = K⁻¹ and the runs B of a group, the inverse for the others is

    P - P_·B P_BB⁻¹ P_B·,    which is zero in the rows and columns of B,

so that one factorisation serves all groups. The model's parameters stay those fitted to all runs. Source:
Rasmussen and Williams (2006), "Gaussian Processes for Machine Learning", sections 5.3 and A.3.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from schedules.search.blas import on_one_thread
from schedules.search.curve_fit import CONSTANT
from schedules.search.curve_model import CurveModel
from schedules.search.curve_runs import Runs, checked, places_of


@on_one_thread
def left_out(
    model: CurveModel,
    curves: Float[np.ndarray, "runs *groups steps"],
    scores: Float[np.ndarray, "runs"],
    seeds: Sequence[Hashable],
    groups: Sequence[Hashable],
    probabilities: Float[np.ndarray, "probabilities"],
) -> Float[np.ndarray, "probabilities runs"]:
    """Quantiles of the level of each run's curve with a new seed, from the runs of all other groups.

    Args:
      model: fitted to these runs, or to more.
      curves, scores, seeds: as for `CurveModel.fit`.
      groups: a label a run.
      probabilities: of the quantiles.

    Raises ValueError as `CurveModel.fit` does.
    """
    parameters = model.parameters
    curves, scores = checked(curves, scores, seeds, model.values.sign)
    runs = _each(places_of(curves, model.unit_rate), model.values(scores), seeds)
    factor = (parameters.root(runs), True)
    weights, precision = cho_solve(factor, runs.values), cho_solve(factor, np.eye(len(scores)))
    labels = {label: number for number, label in enumerate(dict.fromkeys(groups))}
    numbers = np.array([labels[label] for label in groups])
    mean, explained = np.empty(len(scores)), np.empty(len(scores))
    for number in labels.values():
        own = numbers == number
        cross = parameters.covariance(runs.places[own], runs.places)
        gains = cross @ precision
        inner = cho_factor(precision[np.ix_(own, own)], lower=True)
        removed = cho_solve(inner, gains[:, own].T).T
        mean[own] = cross @ weights - removed @ weights[own]
        explained[own] = np.sum(gains * cross, axis=1) - np.sum(removed * gains[:, own], axis=1)
    prior = CONSTANT + parameters.amplitude**2
    variance = np.maximum(prior - explained, 0) + parameters.seed**2 + parameters.noise**2
    return model.values.quantiles(mean, np.sqrt(variance), probabilities)


def _each(
    places: Float[np.ndarray, "runs axes"], values: Float[np.ndarray, "runs"], seeds: Sequence[Hashable]
) -> Runs:
    """Every run by itself, where `Runs.of` has means."""
    _, block = np.unique(np.array([str(seed) for seed in seeds]), return_inverse=True)
    return Runs(places, values, np.eye(block.max() + 1)[block], np.ones(len(values), int))
