"""The columns of a winner's shape, as `schedules.load_winner` reads them."""

from collections.abc import Sequence

from experiments.study.showing.cells import base_lr_text, shape_text
from experiments.study.showing.table import Column, column
from schedules import Interval
from schedules.groups import RATIO, group_factors, shape_params
from schedules.search import Candidate, Standing


def shape_columns(
    heading: str, learning_rates: Interval, groups: Sequence[str]
) -> tuple[Column[Standing], ...]:
    """The parameters of a winner's shape, its base learning rate, and what that is multiplied by for each
    group of parameters, where they have a curve each.

    Args:
      heading: of the parameters.
      learning_rates: that were searched.
      groups: the two names; none where all parameters have one curve.
    """
    columns = (
        column(heading, shape_text, wrapped=True, params=lambda row: shape_params(_candidate(row).params)),
        column(
            "base LR",
            shown=lambda row: base_lr_text(_candidate(row).base_lr, learning_rates),
            base_lr=lambda row: _candidate(row).base_lr,
        ),
    )
    return (*columns, _ratio_column(groups)) if groups else columns


def _ratio_column(groups: Sequence[str]) -> Column[Standing]:
    first, second = groups

    def ratio(standing: Standing) -> str:
        candidate = _candidate(standing)
        return base_lr_text(candidate.params[RATIO], candidate.family.space[RATIO])

    return column(
        f"{second} / {first}",
        shown=ratio,
        groups=lambda row: group_factors(_candidate(row).params, groups),
    )


def _candidate(standing: Standing) -> Candidate:
    return standing.winner.candidate
