"""The columns of a winner's shape, as `schedules.load_winner` reads them."""

from collections.abc import Mapping, Sequence

from experiments.study.showing.cells import base_lr_text, shape_text
from experiments.study.showing.table import Column, column
from schedules import Interval
from schedules.family import Params
from schedules.groups import RATIO, group_shapes
from schedules.search import Candidate, Standing


def shape_columns(
    heading: str, learning_rates: Interval, groups: Sequence[str]
) -> tuple[Column[Standing], ...]:
    """The parameters of a winner's shape, its base learning rate, and where groups of parameters have a curve
    each, what that is multiplied by for each, and the shape there.

    Args:
      heading: of the parameters.
      learning_rates: that were searched.
      groups: the two names; none where all parameters have one curve.
    """

    def shape(standing: Standing) -> str:
        first, second = group_shapes(_params(standing))
        return shape_text(first) + ("" if second == first else f" {groups[1]}: {shape_text(second)}")

    columns = (
        column(heading, shown=shape, wrapped=True, params=lambda row: group_shapes(_params(row))[0]),
        column(
            "base LR",
            shown=lambda row: base_lr_text(_candidate(row).base_lr, learning_rates),
            base_lr=lambda row: _candidate(row).base_lr,
        ),
    )
    return (*columns, _ratio_column(groups)) if groups else columns


def group_facts(params: Params, groups: Sequence[str]) -> dict[str, Mapping[str, float | Params]]:
    """What winners.json says of each group: what the base learning rate is multiplied by, and its shape."""
    factors, shapes = (1.0, params[RATIO]), group_shapes(params)
    return {
        "groups": dict(zip(groups, factors, strict=True)),
        "group_params": dict(zip(groups, shapes, strict=True)),
    }


def _ratio_column(groups: Sequence[str]) -> Column[Standing]:
    first, second = groups

    def ratio(standing: Standing) -> str:
        candidate = _candidate(standing)
        return base_lr_text(candidate.params[RATIO], candidate.family.space[RATIO])

    return column(
        f"{second} / {first}",
        shown=ratio,
        groups=lambda row: group_facts(_params(row), groups)["groups"],
        group_params=lambda row: group_facts(_params(row), groups)["group_params"],
    )


def _params(standing: Standing) -> Params:
    return _candidate(standing).params


def _candidate(standing: Standing) -> Candidate:
    return standing.winner.candidate
