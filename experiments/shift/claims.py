"""What is claimed of optimizers and shapes on shifted data, and what the runs say of it."""

from collections.abc import Iterator

from experiments.shift.config import ADAPTIVE, COSINE, NOT_ADAPTIVE, SEARCHED, TASKS, Contestant
from experiments.shift.equal_error import Fit
from experiments.shift.runs import Results
from experiments.study.showing.claims import Claim, above, below, holds
from experiments.study.training.tasks import IN_DISTRIBUTION, SHIFTED

Fits = dict[str, dict[str, Fit]]  # by task and shift


def claims(results: Results, fits: Fits) -> list[Claim]:
    return [*_adaptive_claims(fits), *_curve_claims(fits), *_shape_claims(results)]


def _adaptive_claims(fits: Fits) -> Iterator[Claim]:
    """That adaptive methods are worse out of distribution at equal error in it (arXiv:2211.08583)."""
    for task, by_shift in fits.items():
        for kind in TASKS[task].shifts:
            known = by_shift[kind].optimizers
            groups = [[name for name in group if name in known] for group in (ADAPTIVE, NOT_ADAPTIVE)]
            if all(groups):
                yield Claim(
                    "shifted error of adaptive methods above SGD's, at equal error in distribution",
                    kind,
                    by_shift[kind].excess(*groups),
                    above(0),
                )


def _curve_claims(fits: Fits) -> Iterator[Claim]:
    """That shifted accuracy is linear in accuracy in distribution (arXiv:2107.04649)."""
    for task, by_shift in fits.items():
        for kind in TASKS[task].shifts:
            yield Claim(
                "curvature of shifted accuracy over accuracy in distribution",
                kind,
                by_shift[kind].curvature_estimate,
                holds(0),
            )


def _shape_claims(results: Results) -> Iterator[Claim]:
    """That the searched shape serves better than cosine, in distribution and out of it."""
    for place in (IN_DISTRIBUTION, SHIFTED):
        for task in results.config.tasks:
            for optimizer in results.config.compared:
                searched, cosine = (
                    results.outcomes[Contestant(task, optimizer, shape)].errors[place]
                    for shape in (SEARCHED, COSINE)
                )
                yield Claim(
                    f"error of the searched shape from cosine's, {place}",
                    f"{optimizer} on {task}",
                    searched.lead(cosine, results.config.confidence),
                    below(0),
                )
