"""What tables of standings have in common."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.study.showing.cells import change_cell, rate_text, shape_text
from experiments.study.showing.table import EVERYWHERE, Column, Place, RowT, column
from experiments.study.training.tuning import Tuned
from schedules.search import Candidate, Estimate, Scale, Standing, median_estimate


def standing_columns(
    kind: str,
    score: str,
    baselines: Sequence[str],
    standings: Sequence[Standing],
    medians: Mapping[str, Mapping[str, float]],
    metric: str,
    inserted: Sequence[Column[Standing]] = (),
) -> tuple[Column[Standing], ...]:
    """A row a standing: its name, what is `inserted`, the score, the changes against the baselines, and the
    test metrics beside it.

    Args:
      kind: of what stands there, such as "optimizer".
      score: the heading of the score.
      baselines: names of standings.
      standings: all rows.
      medians: by name, those of all metrics.
      metric: the one that is scored.
    """
    first = next(iter(medians.values()))
    others = [name for name in first if name.startswith(("test_", "best_test_")) and name != metric]

    def other(name: str) -> Column[Standing]:
        return column(name, shown=lambda standing: f"{medians[standing.name][name]:.3g}")

    return (
        column(kind, shown=marked_name, **{kind: lambda standing: standing.name}),
        *inserted,
        column(score, score=lambda standing: standing.score),
        column(diverged=lambda standing: standing.diverged),
        *change_columns(baselines, standings[0].scale),
        column(ties_with_best=lambda standing: standing.ties_with_best),
        *map(other, others),
        column(metrics=lambda standing: medians[standing.name]),
    )


def change_columns(
    baselines: Sequence[str], scale: Scale, standing: Callable[[RowT], Standing] = lambda row: row
) -> tuple[Column[RowT], ...]:
    """The changes against each of the baselines; `standing` is that of a row."""
    cell = change_cell(scale)

    def against(baseline: str) -> Column[RowT]:
        return column(
            f"vs {baseline}, {scale.unit}",
            shown=lambda row: cell(change=standing(row).against.get(baseline)),
        )

    return *map(against, baselines), column(change_against=lambda row: standing(row).against)


def marked_name(standing: Standing) -> str:
    """The name, with * for the best and = for what cannot be told from it."""
    return standing.name + (" *" if standing.behind_best is None else " =" if standing.ties_with_best else "")


def median_column(
    heading: str,
    confidence: float,
    cell: Callable[..., str] | None = None,
    places: tuple[Place, ...] = EVERYWHERE,
    **scores: Callable[[RowT], np.ndarray],
) -> Column[RowT]:
    """Medians over the seeds of a row, with their intervals, of the scores by their keys."""

    def median(values: Callable[[RowT], np.ndarray]) -> Callable[[RowT], Estimate]:
        return lambda row: median_estimate(values(row), confidence)

    return column(heading, cell, places=places, **{key: median(values) for key, values in scores.items()})


def rate_column(tuned: Callable[[RowT], Tuned]) -> Column[RowT]:
    """The learning rate of what was tuned in a row, or of what else has a setting that may be bracketed."""
    return column(
        "LR",
        rate_text,
        learning_rate=lambda row: tuned(row).setting.learning_rate,
        learning_rate_bracketed=lambda row: tuned(row).bracketed,
    )


def shape_column(heading: str, candidate: Callable[[RowT], Candidate]) -> Column[RowT]:
    """The family of a row's schedule, and its shape there."""
    return column(
        heading,
        lambda family, params: f"{family} {shape_text(params)}",
        wrapped=True,
        family=lambda row: candidate(row).family.name,
        params=lambda row: candidate(row).params,
    )


def tuned_columns() -> tuple[Column[Standing], ...]:
    """The learning rate and decay of what was tuned."""
    return (
        rate_column(lambda standing: standing.winner),
        column("decay", "{decay:g}".format, decay=lambda standing: standing.winner.setting.decay),
        column(replicates=lambda standing: len(standing.winner.scores)),
    )


def marks_note(replicates: int, confidence: float) -> str:
    """What the signs of a table of standings mean."""
    return (
        f"* best; = not distinguishable from it. Medians of {replicates} fresh seeds with"
        f" {confidence:.0%} intervals; changes are paired by seed."
    )


def not_bracketed(standings: Sequence[Standing]) -> list[str]:
    """A note on those whose best learning rate lies on the edge of what was tried, if there are any."""
    edge = [standing.name for standing in standings if not standing.winner.bracketed]
    return naming_notes({"Best learning rate not bracketed (on the edge of what was tried)": edge})


def naming_notes(lists: Mapping[str, Sequence[str]], separator: str = ", ") -> list[str]:
    """A note for each list, on those that it names, if it names any."""
    return [f"{words}: {separator.join(names)}." for words, names in lists.items() if names]
