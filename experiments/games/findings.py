"""What is told of the games: who comes nearest, whether conjugate gradients help, what selection is worth."""

from collections.abc import Iterator, Sequence

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


def present(results: Results) -> Findings:
    """A table a game, with what became of the claims."""
    config, judged = results.config, claims(results)
    tables = [ranking(game, results) for game in results.standings]
    images = drawn(results, figures.scores, figures.rates, figures.selection)
    return Findings(
        f"{', '.join(config.games)}; {config.num_steps:,} {config.turns} steps",
        verdict(results, judged),
        [Part("", [*tables, gain_table(results), *notes(results), *images])],
        judged,
        facts(config, "turns", "num_steps", "confidence"),
    )


def verdict(results: Results, judged: Sequence[Claim]) -> str:
    """Who comes nearest in each game, and how many claims held."""
    nearest = [f"{ranked[0].name} in {game}" for game, ranked in results.standings.items()]
    return f"Nearest: {', '.join(nearest)}. {tally(judged)}"


def ranking(game: str, results: Results) -> Table[Standing]:
    """A row a method, the nearest first."""
    medians, ranked = results.medians[game], results.standings[game]
    modes = column("modes", modes=lambda standing: medians[standing.name]["modes"])

    columns = (
        column("method", shown=marked_name, method=lambda standing: standing.name),
        rate_column(lambda standing: standing.winner),
        column("distance, interval", distance=lambda standing: standing.score),
        *change_columns((REFERENCE,), ranked[0].scale),
        *[modes] * ("modes" in medians[REFERENCE]),
        column("in the choice", chosen_by=lambda standing: screened(standing)),
        column("diverged", diverged=lambda standing: standing.diverged),
        column(ties_with_best=lambda standing: standing.ties_with_best),
    )
    return Table(game, columns, ranked, title=game)


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
        f" {config.first_rates + config.more_rates} learning rates, {config.screen_replicates} seeds. 'In the"
        " choice' is the distance that chose the learning rate.",
        "Selection is of one method among its own settings, a mean over methods: told is what the runs say"
        " that chose, kept what other seeds of the same settings say.",
        f"{results.tally}",
        *not_bracketed(edges),
    ]


def gain(game: str, results: Results) -> Gain:
    """What selection alone is worth in a game."""
    return selection_gain([*results.screened[game].values()], results.config, results.config.confidence)


def screened(standing: Standing) -> float:
    """The score by which its setting was chosen."""
    return standing.winner.screened[standing.winner.setting]


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
        return min(methods, key=lambda method: screened(by_method[method]))

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
