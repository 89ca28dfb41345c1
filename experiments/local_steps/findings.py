"""What is told of the study: what each method costs to get to ddp's loss, and the papers' claims."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from experiments.local_steps import figures
from experiments.local_steps.config import Config, Contestant
from experiments.local_steps.outcome import Outcome
from experiments.local_steps.runs import Results
from experiments.local_steps.traffic import Traffic
from experiments.study.showing.cells import change_cell, rate_text
from experiments.study.showing.claims import Claim, at_most, below, holds, tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import median_column
from experiments.study.showing.table import EVERYWHERE, REPORT, Column, Table, column
from schedules.search import Estimate, Scale

PRINTED = ("steps", "bytes")  # of the shares, for which a terminal has room
PUBLISHED_SAVING = 0.18  # the least of PALSGD's three, of the time to DDP's loss


def present(results: Results) -> Findings:
    """A table a setting, the claims, and the losses over steps and over bytes."""
    config = results.config
    parts = [
        Part(title, [outcomes_table(title, outcomes, config)])
        for title, outcomes in results.settings().items()
    ]
    judged = claims(results)
    images = drawn(results, figures.over_steps, figures.over_bytes)
    first = Part("", [cheapest(results), *notes(results), *images])
    return Findings(
        f"{config.workload_text}, batch {config.batch_size}, {config.num_steps} steps,"
        f" {config.schedule} schedule",
        " ".join([verdict(results), *([tally(judged)] if judged else [])]),
        [first, *parts],
        judged,
        facts(config, "workload", "metric", "confidence", "gigabits"),
    )


def outcomes_table(title: str, outcomes: Sequence[Outcome], config: Config) -> Table[Outcome]:
    """A row a contestant, best first."""

    def share(heading: str, key: str, cost: Callable[[Traffic, float], float]) -> Column[Outcome]:
        places = EVERYWHERE if key in PRINTED else REPORT
        return column(heading, places=places, **{key: lambda row: row.share(cost, config)})

    times = [
        share(f"time at {speed:g} Gbit/s", f"time_{speed:g}", partial(_seconds, speed, config))
        for speed in config.gigabits
    ]
    return Table(
        title.replace(" workers, ", "_").replace(" ", "_"),
        (
            column("method", method=lambda row: row.contestant.title),
            column(
                "rate",
                rate_text,
                learning_rate=lambda row: row.tuned.setting.learning_rate,
                learning_rate_bracketed=lambda row: row.tuned.bracketed,
            ),
            median_column(
                f"{config.metric} [interval]", config.confidence, score=lambda row: row.tuned.scores
            ),
            column("vs ddp, %", change_cell(Scale.RELATIVE), change=lambda row: row.change(config)),
            column("drift", drift=lambda row: row.drift, places=REPORT),
            column(
                "MB sent",
                megabytes=lambda row: float(row.traffic.bytes(config.num_steps)) / 1e6,
                places=REPORT,
            ),
            share("steps to ddp's loss", "steps", lambda traffic, steps: steps),
            share("gradients", "gradients", Traffic.gradients),
            share("bytes", "bytes", Traffic.bytes),
            *times,
        ),
        outcomes,
    )


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    return [
        "Steps, gradients, bytes and time to the loss that ddp has at its end, as shares of what ddp takes:"
        " the median of the confirming runs, infinite where most of them do not get there.",
        f"Time is simulated: {1e3 * config.gradient_seconds:g} ms a gradient,"
        f" {1e6 * config.latency_seconds:g} µs a hop of a ring, nothing at the same time as anything else.",
        f"Every row was tuned with the same {config.tuning_runs} runs; palsgd has one for each pull.",
        f"{results.tally}",
    ]


def cheapest(results: Results) -> Table[tuple[str, Outcome]]:
    """A row a setting: who gets to ddp's loss with the fewest bytes."""
    config = results.config

    def share(outcome: Outcome) -> Estimate:
        return outcome.share(Traffic.bytes, config)

    rows = [
        (title, min(outcomes, key=lambda outcome: share(outcome).value))
        for title, outcomes in results.settings().items()
    ]
    return Table(
        "cheapest",
        (
            column("setting", setting=lambda row: row[0]),
            column("fewest bytes to ddp's loss", method=lambda row: row[1].contestant.title),
            column("of ddp's bytes", bytes=lambda row: share(row[1])),
        ),
        rows,
    )


def verdict(results: Results) -> str:
    """That of the first setting."""
    title, outcome = cheapest(results).rows[0]
    share = outcome.share(Traffic.bytes, results.config).value
    if not math.isfinite(share):
        return f"With {title}, no method gets to ddp's loss in most of its runs."
    return f"With {title}, {outcome.contestant.title} gets to ddp's loss with {share:.1%} of its bytes."


def claims(results: Results) -> list[Claim]:
    """Those of the papers, in every setting."""
    return [claim for outcomes in results.settings().values() for claim in _claims(outcomes, results.config)]


def _claims(outcomes: Sequence[Outcome], config: Config) -> Iterator[Claim]:
    by_contestant = {outcome.contestant: outcome for outcome in outcomes}
    mixing = next((o for o in outcomes if o.contestant.rules.mixes), None)  # the best of them
    if mixing is not None:
        for speed in config.gigabits:
            yield Claim(
                "PALSGD's time to DDP's loss, of DDP's",
                f"{mixing.contestant.name}, {speed:g} Gbit/s",
                mixing.share(partial(_seconds, speed, config), config),
                at_most(1 - PUBLISHED_SAVING),
            )
        _, workers, shards, every, _, _ = mixing.contestant
        plain = by_contestant.get(Contestant("diloco", workers, shards, every))
        if plain is not None:
            yield Claim(
                "PALSGD's synchronisations to DiLoCo's loss, of DiLoCo's",
                mixing.contestant.name,
                mixing._replace(reference=plain).share(Traffic.synchronisations, config),
                below(1),
            )
    yield from _lion_claims(by_contestant, config)


def _lion_claims(outcomes: Mapping[Contestant, Outcome], config: Config) -> Iterator[Claim]:
    by_method = {contestant.method: outcome for contestant, outcome in outcomes.items()}
    if {"lion", "lion_cub"} <= set(by_method):
        compressed = by_method["lion_cub"]
        yield Claim(
            "Lion Cub's loss, against Lion's",
            compressed.contestant.name,
            compressed._replace(reference=by_method["lion"]).change(config),
            holds(0),
        )


def _seconds(gigabits: float, config: Config, traffic: Traffic, steps: float) -> float:
    return traffic.seconds(steps, gigabits, config)
