"""What is told of the games: who comes nearest, whether conjugate gradients help, what selection is worth."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.games import figures
from experiments.games.config import REFERENCE
from experiments.games.methods import METHODS, RULES
from experiments.games.runs import Results
from experiments.games.selection import Gain, selection_gain
from experiments.study.showing.cells import percent_cell
from experiments.study.showing.claims import Claim, below, tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import (
    change_columns,
    marked_name,
    marks_note,
    not_bracketed,
    rate_column,
)
from experiments.study.showing.table import Table, column
from schedules.search import Estimate, Scale, Standing, median_change

LOOKING_AHEAD = ("extragradient", "optimistic")


class Placed(NamedTuple):
    """A method's place in a game."""

    game: str
    standing: Standing


def present(results: Results) -> Findings:
    """The methods in every game, with what became of the claims."""
    config, judged = results.config, claims(results)
    images = drawn(results, figures.scores, figures.rates, figures.selection)
    return Findings(
        f"{', '.join(config.games)}; {config.num_steps:,} {config.turns} steps",
        verdict(results, judged),
        [Part("", [rankings(results), gain_table(results), *notes(results), *images])],
        judged,
        facts(config, "turns", "num_steps", "confidence"),
    )


def verdict(results: Results, judged: Sequence[Claim]) -> str:
    """Who comes nearest in each game, and how many claims held."""
    nearest = [f"{ranked[0].name} in {game}" for game, ranked in results.standings.items()]
    return f"Nearest: {', '.join(nearest)}. {tally(judged)}"


def rankings(results: Results) -> Table[Placed]:
    """A row a method in a game, the nearest first in each."""
    rows = [Placed(game, standing) for game, ranked in results.standings.items() for standing in ranked]

    def modes(row: Placed) -> float | None:
        return results.medians[row.game][row.standing.name].get("modes")

    columns = (
        column("game", game=lambda row: row.game),
        column(
            "method",
            shown=lambda row: marked_name(row.standing),
            method=lambda row: row.standing.name,
        ),
        rate_column(lambda row: row.standing.winner),
        column("distance, interval", distance=lambda row: row.standing.score),
        *change_columns((REFERENCE,), Scale.RELATIVE, lambda row: row.standing),
        column("modes", modes=modes),
        column("chosen by", chosen_by=lambda row: row.standing.winner.chosen_by),
        column("diverged", diverged=lambda row: row.standing.diverged),
        column(ties_with_best=lambda row: row.standing.ties_with_best),
    )
    return Table("standings", columns, rows)


def gain_table(results: Results) -> Table[str]:
    """A row a game."""
    columns = (
        column("game", game=str),
        column("told, %", percent_cell, told=lambda game: gain(game, results).told),
        column("kept, %", percent_cell, kept=lambda game: gain(game, results).kept),
    )
    config = results.config
    title = (
        f"What selection alone is worth: the best {config.averaged_settings} of {config.many_settings}"
        f" settings below those of {config.few_settings}"
    )
    return Table("selection", columns, list(results.standings), title=title)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    edges = [
        standing._replace(name=f"{standing.name} in {game}")
        for game, ranked in results.standings.items()
        for standing in ranked
    ]
    return [
        marks_note(config.confirm_replicates, config.confidence),
        f"Every method was tuned with the same {config.tuning_runs} runs in every game:"
        f" {config.first_rates + config.more_rates} learning rates, {config.screen_replicates} seeds."
        " 'Chosen by' is the distance there.",
        "Selection is of one method among its own settings, a mean over methods: told is what the runs say"
        " that chose, kept what other seeds of the same settings say.",
        f"{results.tally}",
        *not_bracketed(edges),
    ]


def gain(game: str, results: Results) -> Gain:
    """What selection alone is worth in a game."""
    return selection_gain([*results.screened[game].values()], results.config, results.config.confidence)


def claims(results: Results) -> list[Claim]:
    """Those of conjugate gradients, of methods that look ahead, and of what selection explains."""
    return [claim for game in results.standings for claim in _claims(game, results)]


def _claims(game: str, results: Results) -> Iterator[Claim]:
    by_method = {standing.name: standing for standing in results.standings[game]}
    rules = [rule for rule in RULES if rule in by_method]
    others = [method for method in METHODS if method in by_method and method not in RULES]
    from_reference = f"{game}: change from {REFERENCE}"

    def change(method: str, reference: str) -> Estimate:
        scores, others = (by_method[name].winner.scores for name in (method, reference))
        return median_change(scores, others, results.config.confidence, Scale.RELATIVE)

    def chosen(methods: Sequence[str]) -> str:
        return min(methods, key=lambda method: by_method[method].winner.chosen_by)

    for method in (*rules, *filter(by_method.__contains__, LOOKING_AHEAD)):
        yield Claim(from_reference, method, change(method, REFERENCE), below(0))
    if rules:
        best, rival = chosen(rules), chosen(others)
        effect = change(best, rival)
        yield Claim(
            f"{game}: change by the best rule from the best other", f"{best}, {rival}", effect, below(0)
        )
        told = gain(game, results).told.value
        yield Claim(f"{from_reference} beyond selection", best, change(best, REFERENCE), below(-told))
