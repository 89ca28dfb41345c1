"""What is claimed of methods for flat minima, and what the confirming runs say of it."""

from collections.abc import Iterator

from experiments.flatness.config import REFERENCE, VIEWS
from experiments.flatness.digits import LARGEST, TRACE
from experiments.flatness.runs import FORMS, Outcome, Results
from experiments.study.showing.claims import Claim, below, not_above
from schedules.search import Estimate, Scale, median_change, median_difference

ERROR = "test_error"
SHARPNESS_AWARE = ("sam", "asam")
CURVATURES = {LARGEST: "largest eigenvalue of the Hessian", TRACE: "trace of the Hessian"}


def claims(results: Results) -> list[Claim]:
    """In every comparison."""
    return [
        claim
        for view in VIEWS
        for flipped in results.config.flipped
        for claim in _claims(results, view, flipped)
    ]


def change(metric: str, outcome: Outcome, reference: Outcome, confidence: float) -> Estimate:
    """Of the median over seeds, paired: of an error the difference, of anything else relative."""
    scores, others = outcome.metrics[metric], reference.metrics[metric]
    if metric == ERROR:
        return median_difference(scores, others, confidence)
    return median_change(scores, others, confidence, Scale.RELATIVE)


def _claims(results: Results, view: str, flipped: float) -> Iterator[Claim]:
    def measured(metric: str, method: str, reference: str) -> Estimate:
        outcomes = (results.best(name, view, flipped) for name in (method, reference))
        return change(metric, *outcomes, results.config.confidence)

    def subject(method: str) -> str:
        return f"{method}, {flipped:.0%} flipped, {view}"

    compared = results.config.compared
    for method in (name for name in SHARPNESS_AWARE if name in compared):
        for metric, words in CURVATURES.items():
            effect = measured(metric, method, REFERENCE)
            yield Claim(f"{words}, change from {REFERENCE}", subject(method), effect, below(0))
    for method in (name for name in (*SHARPNESS_AWARE, *FORMS) if name in compared and flipped):
        effect = measured(ERROR, method, REFERENCE)
        yield Claim(
            f"test error with flipped labels, difference from {REFERENCE}", subject(method), effect, below(0)
        )
    for method in (name for name in FORMS if name in compared and "sam" in compared):
        effect = measured(ERROR, method, "sam")
        yield Claim(
            "test error without tuning, difference from sam at its tuned rate and radius",
            subject(method),
            effect,
            not_above(0),
        )
