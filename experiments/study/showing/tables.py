"""Findings as text: cells, JSON values, and the table on the terminal."""

import math
from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.study.storage.journal import Journal
from schedules import Interval
from schedules.search import Estimate, Scale, Standing

EDGE = 0.05  # of an interval of learning rates, on either side


def marked_name(standing: Standing) -> str:
    """The name, with * for the best and = for what cannot be told from it."""
    return standing.name + (" *" if standing.behind_best is None else " =" if standing.ties_with_best else "")


def estimate_text(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "not known"
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def change_text(change: Estimate | None, scale: Scale, digits: int = 0) -> str:
    """A change in the scale's unit, which the heading names; a dash where there is none."""
    if change is None or math.isnan(change.value):
        return "–"
    value, low, high = (scale.text(end, digits, "+").removesuffix("%") for end in change)
    return f"{value} [{low}, {high}]"


def base_lr_text(base_lr: float, searched: Interval | None) -> str:
    """A base learning rate, marked where it lies at the edge of what was searched, if it was."""
    return f"{base_lr:.3g}" + (" (edge)" if searched and at_edge(base_lr, searched) else "")


def at_edge(base_lr: float, searched: Interval) -> bool:
    """Whether a base learning rate lies outside the inner nine tenths of an interval."""
    return not EDGE <= searched.to_unit(base_lr) <= 1 - EDGE


def shape_text(params: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in params.items())


def estimate_json(estimate: Estimate) -> dict[str, float | None]:
    return {name: finite_or_none(value) for name, value in estimate._asdict().items()}


def finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def other_test_metrics(metrics: Iterable[str], scored: str) -> list[str]:
    """The metrics on test data that are shown beside the one that is scored."""
    return [name for name in metrics if name.startswith("test_") and name != scored]


def median_metrics(journal: Journal, stage: str) -> dict[str, dict[str, float]]:
    return journal.medians(stage)


def show_table(
    console: Console,
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    lines: Iterable[str],
    paths: Iterable[object],
    *,
    wrapped: Sequence[int] = (),
) -> None:
    """Print a table, its first column left and all others right except those `wrapped`; then lines, then
    paths, which are never broken."""
    table = Table(title=Text(title), box=SIMPLE_HEAD, padding=(0, 1))
    for place, heading in enumerate(headings):
        left = place == 0 or place in wrapped
        table.add_column(Text(heading), justify="left" if left else "right", no_wrap=place not in wrapped)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    for line in lines:
        console.print(Text(line))
    for path in paths:
        console.print(Text(str(path)), soft_wrap=True)
