"""What is told of the model of all curves: what it would try next, and whether it can be relied on."""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import numpy as np
from jaxtyping import Float

from experiments.shape_search import calibration, figures
from experiments.shape_search.calibration import LEVEL, LeftOut
from experiments.shape_search.prediction import Prediction, curve_of, predictions
from experiments.shape_search.runs import Results
from experiments.study.showing.cells import as_text, base_lr_text, shape_text
from experiments.study.showing.claims import Claim
from experiments.study.showing.findings import Figure, Part
from experiments.study.showing.table import REPORT, Table, column
from schedules.search import Candidate, Scale, named_key

NEXT_NOTE = (
    "The first has the lowest mean of a pool under the model of all curves, each other one is the lowest"
    " under a function drawn from it. A probability is that of being lower in the median over seeds."
)
LEFT_OUT_NOTE = (
    "The runs of the screening that did not diverge, each with the luck of one seed, which no model can know:"
    " a model that is told of the family too gives the second correlation. The parameters of the model stay"
    " those that were fitted to all runs."
)


def explained(results: Results) -> list[Part]:
    """What the model of all curves would try next, and whether it knows families that it never saw."""
    if results.explanation is None:
        return []
    parts = [Part("What would be tried next", [next_table(results), NEXT_NOTE])]
    if families := results.explanation.left_out:
        table = left_out_table(families, results.explanation.model.values.scale)
        content = [table, LEFT_OUT_NOTE, Figure("calibration", partial(figures.calibration, results))]
        parts.append(Part("Does the model know families that it never saw?", content))
    return parts


def next_table(results: Results) -> Table[tuple[Candidate, Prediction]]:
    """The candidates that would be tried next, what the model expects of each, and whether it is better."""
    config, candidates = results.config, results.explanation.next_batch
    told = compared(
        results,
        [curve_of(candidate, config.num_steps) for candidate in candidates],
        curve_of(results.challenger or results.best.winner.candidate, config.num_steps),
    )
    best = "the challenger" if results.challenger else f"{results.best.name}'s winner"
    columns = (
        column("family", shown=lambda row: row[0].family.name),
        column("shape", shown=lambda row: shape_text(row[0].params)),
        column("base LR", shown=lambda row: base_lr_text(row[0].base_lr, config.learning_rate_range)),
        column(f"{config.metric} expected, median of runs", shown=lambda row: as_text(row[1].typical)),
        column(f"better than {best} with probability", shown=lambda row: f"{row[1].lower:.2f}"),
    )
    return Table("", columns, list(zip(candidates, told, strict=True)), places=REPORT)


def left_out_table(families: Mapping[str, LeftOut], scale: Scale) -> Table[tuple[str, LeftOut]]:
    """A row a family, predicted by the model of all others."""
    varied = "log score" if scale is Scale.RELATIVE else "score"
    columns = (
        column("family left out", family=lambda row: row[0]),
        column("runs", runs=lambda row: len(row[1].measured)),
        column("rank correlation", rank_correlation=lambda row: row[1].correlation),
        column("of a model told of it too", known_rank_correlation=lambda row: row[1].known_correlation),
        column(f"root mean square error, {varied}", error=lambda row: row[1].error),
        column(
            f"inside {LEVEL:.0%} intervals, %",
            lambda covered: f"{100 * covered:.0f}",
            covered=lambda row: row[1].covered,
        ),
    )
    return Table("left_out", columns, list(families.items()), places=REPORT)


def claims(results: Results) -> list[Claim]:
    """What the model should do for families that it never saw, where there is one."""
    if results.explanation is None:
        return []
    return calibration.claims(results.explanation.left_out, results.config.confidence)


def compared(
    results: Results, curves: Sequence[Float[np.ndarray, "steps"]], reference: Float[np.ndarray, "steps"]
) -> list[Prediction]:
    """What the model says of curves, compared with another one."""
    key = named_key(jax.random.key(results.config.seed), "prediction")
    model, confidence = results.explanation.model, results.config.confidence
    return predictions(model, np.stack(curves), reference, confidence, key)
