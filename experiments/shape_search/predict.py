"""`steepest shape_search predict FOLDER`: what a schedule would score that was never run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float

from experiments.shape_search.config import CURVES, Config
from experiments.shape_search.explanation import compared
from experiments.shape_search.findings import setting
from experiments.shape_search.prediction import Prediction, curve_of
from experiments.shape_search.runs import Results
from experiments.shape_search.schedule_file import read_schedule
from experiments.study.command import Question
from experiments.study.options.checks import Checked, OneOf, Positive
from experiments.study.options.errors import StudyError
from experiments.study.options.pairs import Assigned, Folder
from experiments.study.showing.cells import NONE, as_text, change_text
from experiments.study.showing.table import Table, column
from schedules import FAMILIES
from schedules.groups import group_shapes
from schedules.search import Candidate


@dataclass(frozen=True)
class Predict(Checked):
    """What would a schedule score that was never run, and how does it stand to the winner? Nothing is
    trained: the search's model of all curves answers."""

    folder: Annotated[Folder, tyro.conf.Positional]
    """That of a finished search with the strategy curves, such as runs/shape_search_digits."""
    schedule: Path | None = None
    """A file of the schedule: a line with the learning rate of each step, or lines STEP,LEARNING_RATE with
    the steps from 0 on, under a heading or none."""
    family: Annotated[str, OneOf(FAMILIES)] | None = None
    """In place of a file, a family; its forms of warm-up and decay are those of the search."""
    params: Assigned = field(default_factory=dict)
    """The family's parameters; where the search has groups also the ratio of their base learning rates, and
    where these have shapes of their own the second's, as second_NAME."""
    base_lr: Positive | None = None
    """The family's base learning rate."""

    def joint_problems(self) -> Iterator[str]:
        if (self.schedule is None) == (self.family is None):
            yield "schedule, family: needs one of the two."
        elif self.family is None and (self.params or self.base_lr):
            yield "params, base_lr: a family has them, and not a file."
        elif self.family and self.sound("family"):
            if self.base_lr is None:
                yield "base_lr: a family needs it."
            yield from self._params_problems()

    def _params_problems(self) -> Iterator[str]:
        texts = {name: value for name, value in self.params.items() if isinstance(value, str)}
        yield from (f"params: {name} must be a number, got {text!r}." for name, text in texts.items())
        numbers = {name: value for name, value in self.params.items() if name not in texts}
        try:
            FAMILIES[self.family].check(group_shapes(numbers)[0])
        except ValueError as error:
            if not texts:
                yield f"params: {error}."


def predict(results: Results, options: Predict) -> list[Table | str]:
    """The schedule beside the winner, and beside what is better than that, if anything was found to be."""
    config = results.config
    if results.explanation is None:
        raise StudyError(f"{options.folder} has no model of all curves: {_reason(config)}.")
    name, asked = _asked(options, config)
    winner = curve_of(results.best.winner.candidate, config.num_steps)
    curves = {name: asked, f"{results.best.name}, the winner": winner}
    if results.challenger is not None:
        label = f"{results.challenger.family.name}, the best challenger"
        curves[label] = curve_of(results.challenger, config.num_steps)
    told = dict(zip(curves, compared(results, list(curves.values()), winner), strict=True))
    lower = 1 - told[name].lower
    return [
        _table(told, results),
        f"The winner is expected lower than {name} with probability {lower:.2f}.",
    ]


def _table(told: Mapping[str, Prediction], results: Results) -> Table[tuple[str, Prediction]]:
    """A row a schedule, by its name; the second is the one that the others are compared with."""
    config, scale = results.config, results.explanation.model.values.scale
    _, reference, *_ = told

    def compared_cell(text: Callable[[Prediction], str]) -> Callable[[tuple[str, Prediction]], str]:
        return lambda row: NONE if row[0] == reference else text(row[1])

    columns = (
        column("schedule", shown=lambda row: row[0]),
        column(f"{config.metric}, median [interval]", shown=lambda row: as_text(row[1].typical)),
        column("of a run", shown=lambda row: f"{row[1].run.low:.3g} to {row[1].run.high:.3g}"),
        column(
            f"vs the winner, {scale.unit}",
            shown=compared_cell(lambda prediction: change_text(prediction.change, scale, 1)),
        ),
        column("P(lower)", shown=compared_cell(lambda prediction: f"{prediction.lower:.2f}")),
    )
    return Table("", columns, list(told.items()), title=f"{setting(config)}: predicted")


def _asked(options: Predict, config: Config) -> tuple[str, Float[np.ndarray, "steps"]]:
    """The name and the learning rates of the schedule."""
    if options.schedule is not None:
        if config.groups:
            raise StudyError(f"schedule: a file has no curve for each of {' and '.join(config.groups)}.")
        return options.schedule.name, read_schedule(options.schedule, config.num_steps)
    params = {name: float(value) for name, value in options.params.items()}
    family = config.family(options.family)
    try:
        family.check(params)
    except ValueError as error:
        raise StudyError(f"params: {error}.") from None
    candidate = Candidate(family, 0, params, options.base_lr)
    return options.family, curve_of(candidate, config.num_steps)


def _reason(config: Config) -> str:
    if config.strategy != CURVES:
        return f"it was searched with {config.strategy}, one family at a time"
    return "too few of its runs are different"


PREDICT = Question(Predict, predict)
