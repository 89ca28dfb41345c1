"""What is told of cooldowns: the best at each horizon, its rivals, and the steps that branches save."""

from collections.abc import Mapping

from experiments.cooldown import figures
from experiments.cooldown.claims import (
    branch_slopes,
    change,
    changes,
    claims,
    scale_of,
    scratch_change,
    scratch_slopes,
)
from experiments.cooldown.config import FORM, LENGTH
from experiments.cooldown.endings import (
    CLAIMED,
    COSINE,
    SEARCHED,
    Setting,
    Steps,
    horizon_steps,
    search_steps,
)
from experiments.cooldown.runs import Chosen, Results
from experiments.study.showing.cells import as_text, change_cell, rate_text
from experiments.study.showing.claims import tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.table import REPORT, Column, Table, column
from schedules.search import Estimate, median_estimate


def present(results: Results) -> Findings:
    """All tables, with what became of the claims."""
    config, judged = results.config, claims(results)
    images = drawn(results, figures.horizons, figures.rivals, figures.cooldowns)
    tables = horizon_table(results), contest_table(results), search_table(results), step_table(results)
    kinds = {"form": results.forms, "length": results.lengths}
    return Findings(
        f"{config.workload_text}, {config.optimizer}, batch {config.batch_size}, horizons of"
        f" {', '.join(map(str, config.horizons))} steps, warm-up of {config.warmup}",
        f"{tally(judged)} {winners_text(results)}",
        [
            Part("", [*tables, *notes(results), *images]),
            Part("Forms and lengths", [change_table(*kind, results) for kind in kinds.items()]),
        ],
        judged,
        facts(config, "workload", "metric", "confidence", scale=scale_of(results).value),
    )


def winners_text(results: Results) -> str:
    """What the search found, in a sentence."""
    found = [f"{setting.ending} at {setting.horizon}" for setting in results.contestants[SEARCHED]]
    return f"Best cooldowns: {', '.join(found)} steps."


def horizon_table(results: Results) -> Table[Setting]:
    """A row a horizon: the best cooldown, and the claimed one from branches and from scratch."""
    config, claimed = results.config, {s.horizon: s for s in results.contestants[CLAIMED]}

    def score(setting: Setting) -> Estimate:
        return median_estimate(results.confirmed[setting], config.confidence)

    columns = (
        column("steps", horizon=lambda setting: setting.horizon),
        column("best cooldown", shown=lambda s: str(s.ending), form=lambda s: s.ending.form),
        column(length=lambda setting: setting.ending.length),
        rate_column(results),
        column(f"{config.metric}, interval", score=score),
        column(f"{FORM}, {LENGTH:g}", claimed=lambda s: score(claimed[s.horizon])),
        column(
            "the same from scratch",
            scratch=lambda s: median_estimate(results.scratch[s.horizon], config.confidence),
        ),
        column(
            f"change, {scale_of(results).unit}",
            change_cell(scale_of(results)),
            scratch_change=lambda s: scratch_change(claimed[s.horizon], results),
        ),
    )
    return Table("horizons", columns, results.contestants[SEARCHED])


def rate_column(results: Results) -> Column[Setting]:
    """The learning rate of a setting, marked where it lies on the edge of what was tried."""
    rates = results.config.learning_rates
    return column(
        "LR",
        rate_text,
        learning_rate=lambda setting: rates[setting.place],
        learning_rate_bracketed=lambda setting: 0 < setting.place < len(rates) - 1,
    )


def contest_table(results: Results) -> Table[int]:
    """A row a horizon, by its place: the cosine tuned for it, and how far all others lie from it."""
    config, cosines = results.config, results.contestants[COSINE]
    cell = change_cell(scale_of(results))
    others = {name: chosen for name, chosen in results.contestants.items() if name != COSINE}
    against_cosine = changes(others, cosines, results)

    def against(name: str) -> Column[int]:
        return column(name, shown=lambda place: cell(change=against_cosine[name][place]))

    def settings(place: int) -> dict[str, dict[str, str | float]]:
        return {
            name: {
                "ending": str(chosen[place].ending),
                "learning_rate": config.learning_rates[chosen[place].place],
            }
            for name, chosen in results.contestants.items()
        }

    columns = (
        column("steps", horizon=lambda place: config.horizons[place]),
        column(
            COSINE, cosine=lambda place: median_estimate(results.confirmed[cosines[place]], config.confidence)
        ),
        *map(against, others),
        column(
            change_against_cosine=lambda place: {name: found[place] for name, found in against_cosine.items()}
        ),
        column(settings=settings),
    )
    title = f"Against a cosine tuned for its horizon, {scale_of(results).unit}"
    return Table("contest", columns, range(len(config.horizons)), title=title)


def search_table(results: Results) -> Table[int]:
    """A row a horizon at which form and length were searched twice."""
    config = results.config
    winners = {setting.horizon: setting for setting in results.contestants[SEARCHED]}

    def winner(heading: str, found: Mapping[int, Setting]) -> Column[int]:
        def text(horizon: int) -> str:
            setting = found[horizon]
            return f"{setting.ending}, LR {config.learning_rates[setting.place]:g}"

        return column(heading, **{heading.replace(" ", "_"): lambda horizon: text(horizon)})

    def steps(horizon: int) -> Steps:
        return search_steps(horizon, config)

    columns = (
        column("steps", horizon=lambda horizon: horizon),
        winner("through branches", winners),
        winner("through whole runs", results.wholes),
        column(
            f"change, {scale_of(results).unit}",
            change_cell(scale_of(results)),
            change=lambda horizon: change(winners[horizon], results.wholes[horizon], results),
        ),
        column("steps of the search", "{branch_steps:,}".format, branch_steps=lambda h: steps(h).by_branches),
        column("of whole runs", "{whole_steps:,}".format, whole_steps=lambda h: steps(h).by_whole_runs),
        column("share", "{share:.0%}".format, share=lambda horizon: steps(horizon).share),
    )
    return Table("searches", columns, config.searched, title="The search of form and length")


def step_table(results: Results) -> Table[float]:
    """A row a length of the cooldown."""
    config = results.config

    def steps(length: float) -> Steps:
        return horizon_steps(length, config)

    columns = (
        column("length", "{length:.0%}".format, length=lambda length: length),
        column("steps from one trunk", steps=lambda length: steps(length).by_branches),
        column("of separate runs", separate_steps=lambda length: steps(length).by_whole_runs),
        column("saved", "{saved:.1%}".format, saved=lambda length: 1 - steps(length).share),
    )
    return Table("steps", columns, config.all_lengths, title="Steps of one run for every horizon")


def change_table(kind: str, chosen: Chosen, results: Results) -> Table[str | float]:
    """A row a form, at its best length, or a length, in its best form: the change from the best cooldown, at
    each horizon."""
    winners, cell = results.contestants[SEARCHED], change_cell(scale_of(results))
    behind_best = changes(chosen, winners, results)

    def at_horizon(place: int) -> Column[str | float]:
        heading = f"{results.config.horizons[place]} steps, {scale_of(results).unit}"
        return column(heading, shown=lambda name: cell(change=behind_best[name][place]))

    columns = (
        column(kind, shown=str, **{kind: lambda name: name}),
        *map(at_horizon, range(len(winners))),
        column(changes=behind_best.__getitem__),
        column(endings=lambda name: [str(setting.ending) for setting in chosen[name]]),
    )
    return Table(
        f"{kind}s", columns, list(chosen), title=f"By {kind}: change from the best cooldown", places=REPORT
    )


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    by_branches, by_scratch = (
        as_text(median_estimate(values, config.confidence))
        for values in (branch_slopes(results), scratch_slopes(results))
    )
    runs = len(config.learning_rates) * config.screen_replicates
    return [
        f"Medians of {config.confirm_replicates} fresh seeds with {config.confidence:.0%} intervals; changes"
        " are paired by seed, whose branches share a trunk. Runs from scratch have other seeds at every"
        " horizon.",
        f"At each horizon everything was tuned over {len(config.learning_rates)} learning rates with"
        f" {config.screen_replicates} seeds, {runs} runs; the best cooldown with as many times more as there"
        " are forms and lengths, the averaged trunk as there are decays. 'At one rate' has for all horizons"
        " the learning rate that is best at the longest.",
        f"Slopes over log horizon, one a seed: {by_branches} from branches, {by_scratch} from scratch.",
        f"{results.tally}",
    ]
