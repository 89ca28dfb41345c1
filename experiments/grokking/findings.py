"""What is told of grokking: when each contestant fits and generalises, and what shortens the delay."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from experiments.grokking import figures
from experiments.grokking.config import (
    ADAMW,
    DECAY,
    FLOAT64,
    MUON,
    NO_REMEDY,
    ORTHOGONAL,
    STABLEMAX,
)
from experiments.grokking.runs import Outcome, Results
from experiments.study.showing.claims import Claim, above, below, tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import median_column, naming_notes, rate_column
from experiments.study.showing.table import Column, Table, column
from experiments.study.statistics.fractions import fraction_estimate
from schedules.search import Estimate, median_difference

Delays = Float[np.ndarray, "replicates"]

HALF = 0.5  # of the seeds


def present(results: Results) -> Findings:
    """The table of contestants, with what became of the claims."""
    config, judged = results.config, claims(results)
    images = drawn(results, figures.errors, figures.delays, figures.rates)
    return Findings(
        f"a + b mod {config.modulus}, {config.train_pairs:,} of {config.modulus**2:,} pairs for training,"
        f" all in every step, {config.num_steps:,} steps",
        f"{first(results)} {tally(judged)}",
        [Part("", [contestants(results), *notes(results), *images])],
        judged,
        facts(config, "modulus", "train_share", "num_steps", "confidence"),
    )


def first(results: Results) -> str:
    """Who generalises after the fewest steps, in a sentence."""
    best = min(results.outcomes.values(), key=lambda outcome: np.median(outcome.generalised))
    steps = np.median(best.generalised)
    if not np.isfinite(steps):
        return f"No contestant generalises within {results.config.num_steps:,} steps in most seeds."
    return f"{best.contestant.name} generalises first, after {steps:.0f} steps."


def contestants(results: Results) -> Table[Outcome]:
    """A row each, who generalises first on top."""
    config = results.config
    outcomes = sorted(results.outcomes.values(), key=lambda outcome: np.median(outcome.tuned.scores))

    def steps(heading: str, **values) -> Column[Outcome]:
        return median_column(
            heading,
            config.confidence,
            lambda **found: steps_text(*found.values(), config.num_steps),
            **values,
        )

    columns = (
        column("optimizer", optimizer=lambda outcome: outcome.contestant.optimizer),
        column("remedy", remedy=lambda outcome: outcome.contestant.remedy),
        rate_column(lambda outcome: outcome.tuned),
        steps("fits after", fitted=lambda outcome: outcome.fitted),
        steps("generalises after", generalised=lambda outcome: outcome.generalised),
        steps("steps between", delay=lambda outcome: outcome.delays),
        column(
            "seeds that do",
            lambda seeds_generalised: f"{seeds_generalised} of {config.confirm_replicates}",
            seeds_generalised=lambda outcome: int(np.sum(np.isfinite(outcome.generalised))),
        ),
        median_column(
            "test error at the end", config.confidence, test_error=lambda o: o.errors["test_error"][:, -1]
        ),
    )
    return Table("contestants", columns, outcomes)


def steps_text(steps: Estimate, horizon: int) -> str:
    """Numbers of steps, of which what was not reached is beyond the horizon.

    >>> steps_text(Estimate(250.0, 225.0, float("inf")), 2000)
    '250 [225, >2000]'
    """
    value, low, high = (f"{x:.0f}" if np.isfinite(x) else f">{horizon}" for x in steps)
    return f"{value} [{low}, {high}]" if low != high else value


def notes(results: Results) -> list[str]:
    """What the table needs said."""
    config = results.config
    edges = [o.contestant.name for o in results.outcomes.values() if not o.tuned.bracketed]
    return [
        f"Medians of {config.confirm_replicates} fresh seeds with {config.confidence:.0%} intervals, at the"
        f" best of {config.first_rates + config.more_rates} learning rates, {config.screen_replicates} seeds"
        " each. To fit and to generalise is an error of at most 1 %. A run that does not generalise within"
        " the horizon counts as one that does so later.",
        f"{results.tally}",
        *naming_notes({"Best learning rate not bracketed (on the edge of what was tried)": edges}),
    ]


def claims(results: Results) -> list[Claim]:
    """Those of softmax's collapse and its remedies, of orthogonal gradients, and of Muon."""
    return [*_remedy_claims(results), *_delay_claims(results)]


def _remedy_claims(results: Results) -> Iterator[Claim]:
    """That without a remedy a network does not generalise, and with each it does."""
    for (_, remedy), outcome in results.outcomes.items():
        found = np.isfinite(outcome.generalised)
        share = fraction_estimate(int(np.sum(found)), len(found), results.config.confidence)
        bound = below(HALF) if remedy == NO_REMEDY else above(HALF)
        words = "without a remedy" if remedy == NO_REMEDY else "with a remedy"
        yield Claim(f"share of seeds that generalise {words}", outcome.contestant.name, share, bound)


def _delay_claims(results: Results) -> Iterator[Claim]:
    """That float64 brings softmax further, that orthogonal gradients and StableMax shorten the delay of
    weight decay, and Muon that of AdamW."""
    config, optimizers, remedies = results.config, results.config.optimizers, results.config.remedies

    def difference(values: Callable[[Outcome], Delays], *pair: tuple[str, str]) -> Estimate:
        return median_difference(*(values(results.outcomes[place]) for place in pair), config.confidence)

    for optimizer in optimizers:
        if {FLOAT64, NO_REMEDY} <= {*remedies}:
            pair = (optimizer, FLOAT64), (optimizer, NO_REMEDY)
            effect = difference(lambda outcome: outcome.errors["test_error"][:, -1], *pair)
            yield Claim("test error by float64, difference from float32", optimizer, effect, below(0))
        for remedy in filter(remedies.__contains__, (ORTHOGONAL, STABLEMAX) if DECAY in remedies else ()):
            effect = difference(lambda outcome: outcome.delays, (optimizer, remedy), (optimizer, DECAY))
            subject = f"{optimizer} {remedy}"
            yield Claim("steps between, difference from weight decay", subject, effect, below(0))
    for remedy in remedies if {ADAMW, MUON} <= {*optimizers} else ():
        if remedy != NO_REMEDY:
            effect = difference(lambda outcome: outcome.delays, (MUON, remedy), (ADAMW, remedy))
            yield Claim(f"steps between, difference of {MUON} from {ADAMW}", remedy, effect, below(0))
