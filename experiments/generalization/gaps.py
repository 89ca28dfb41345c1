"""The measured generalisation gaps, and what every predictor says of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.generalization.config import Config
from experiments.generalization.measures import CHEAP, DENSE, num_parameters
from experiments.generalization.trials import MEASURE, candidates, trials
from experiments.study.storage.journal import Identity

CRITERIA = tuple(f"{name} / n" for name in (*DENSE, *CHEAP))
MEASURED_CONTROLS = ("trace_c", "trace_h", "gradient_norm", "parameter_norm")
CONTROLS = (*MEASURED_CONTROLS, "parameters / n", "1 / n")


class Gaps(NamedTuple):
    """The runs that have a gap, test loss - train loss at the end: those that did not diverge.

    Attributes:
      gaps: theirs.
      sizes: their numbers of training examples.
      candidates: the number of each one's candidate.
      predictions: what each of CRITERIA and CONTROLS says, in this order; +inf where that is no number.
    """

    gaps: Float[np.ndarray, "runs"]
    sizes: Int[np.ndarray, "runs"]
    candidates: Int[np.ndarray, "runs"]
    predictions: Mapping[str, Float[np.ndarray, "runs"]]


def measured_gaps(config: Config, records: Mapping[Identity, Mapping[str, float]]) -> Gaps:
    """The gaps of the stage MEASURE, from the metrics of its runs."""
    runs = [trial for trial in trials(config) if trial.stage == MEASURE]

    def at_end(name: str) -> Float[np.ndarray, "runs"]:
        return np.array([records[trial.identity][f"{name}@{config.num_steps}"] for trial in runs])

    numbers = {setting: number for number, setting in enumerate(candidates(config))}
    sizes = np.array([trial.train_size for trial in runs])
    parameters = np.array([num_parameters(trial.setting.width) for trial in runs])
    predictions = {f"{name} / n": at_end(name) / sizes for name in (*DENSE, *CHEAP)}
    predictions |= {name: at_end(name) for name in MEASURED_CONTROLS}
    predictions |= {"parameters / n": parameters / sizes, "1 / n": 1 / sizes}
    gaps = at_end("test_loss") - at_end("train_loss")
    kept = np.isfinite(gaps)
    return Gaps(
        gaps[kept],
        sizes[kept],
        np.array([numbers[trial.setting] for trial in runs])[kept],
        {name: np.nan_to_num(v, nan=np.inf, posinf=np.inf)[kept] for name, v in predictions.items()},
    )
