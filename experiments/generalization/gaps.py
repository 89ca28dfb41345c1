"""The measured generalisation gaps, and how every predictor ranks them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.generalization.config import MEASURE, Config, candidates, trials
from experiments.generalization.measures import CHEAP, DENSE, num_parameters
from experiments.study.options.metrics import curve_metric
from experiments.study.statistics.resampled import Correlations, cluster_resamples, correlations
from experiments.study.storage.journal import Identity

CRITERIA = tuple(f"{name} / n" for name in (*DENSE, *CHEAP))
CLAIMED = CRITERIA[0]  # the exact one; named before any run, as what the first claim is tested with
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


class Rankings(NamedTuple):
    """How the predictors rank the gaps, with what resampled candidates make of that.

    Attributes:
      overall: over all runs.
      by_size: within each train size, in ascending order: there the size itself explains nothing.
      equal_size: the mean of these.
    """

    overall: Correlations
    by_size: Mapping[int, Correlations]
    equal_size: Correlations


def measured_gaps(config: Config, records: Mapping[Identity, Mapping[str, float]]) -> Gaps:
    """The gaps of the stage MEASURE, from the metrics of its runs."""
    runs = [trial for trial in trials(config) if trial.stage == MEASURE]

    def at_end(name: str) -> Float[np.ndarray, "runs"]:
        return np.array([records[trial.identity][curve_metric(name, config.num_steps)] for trial in runs])

    numbers = {candidate: number for number, candidate in enumerate(candidates(config))}
    sizes = np.array([trial.train_size for trial in runs])
    parameters = np.array([num_parameters(trial.candidate.width) for trial in runs])
    predictions = {f"{name} / n": at_end(name) / sizes for name in (*DENSE, *CHEAP)}
    predictions |= {name: at_end(name) for name in MEASURED_CONTROLS}
    predictions |= {"parameters / n": parameters / sizes, "1 / n": 1 / sizes}
    gaps = at_end("test_loss") - at_end("train_loss")
    kept = np.isfinite(gaps)
    return Gaps(
        gaps[kept],
        sizes[kept],
        np.array([numbers[trial.candidate] for trial in runs])[kept],
        {name: np.nan_to_num(v, nan=np.inf, posinf=np.inf)[kept] for name, v in predictions.items()},
    )


def rankings(measured: Gaps, confidence: float) -> Rankings:
    """The rank correlations, and those of resampled candidates: all runs of a candidate stay together."""
    samples = [np.arange(len(measured.gaps)), *cluster_resamples(measured.candidates)]

    def ranking(samples: list[Int[np.ndarray, "rows"]]) -> Correlations:
        return correlations(measured.predictions, measured.gaps, samples[0], samples[1:], confidence)

    by_size = {
        int(size): ranking([rows[measured.sizes[rows] == size] for rows in samples])
        for size in np.unique(measured.sizes)
    }
    sizes_apart = by_size.values()
    mean = Correlations(
        tuple(measured.predictions),
        np.mean([size.values for size in sizes_apart], axis=0),
        np.mean([size.resampled for size in sizes_apart], axis=0),
        confidence,
    )
    return Rankings(ranking(samples), by_size, mean)
