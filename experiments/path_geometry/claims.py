"""The claims of arXiv:2306.11922 and controls, each with what was measured and whether it held here."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.path_geometry.config import AS_IT_IS, BASELINE, PRESCRIBED, Config
from experiments.path_geometry.paths import (
    NOISE,
    Group,
    Paths,
    late_to_early,
    random_walk_cosines,
    typical,
)
from schedules.search import Estimate, Standing, median_change, median_estimate

ALMOST_ALWAYS = 0.95
STABLE = (0.5, 2.0)


class Claim(NamedTuple):
    """A claim about one subject.

    Attributes:
      statement: what is claimed, in a few words.
      subject: of whom, an optimizer or a schedule.
      effect: what was measured, with its interval over seeds.
      expected: what the interval must lie within for the claim to hold.
      held: whether it does.
    """

    statement: str
    subject: str
    effect: Estimate
    expected: str
    held: bool


def path_claims(paths: Paths, config: Config) -> list[Claim]:
    """The claims about γ, of every optimizer at the middle batch size with true labels, unless stated."""
    walk = random_walk_cosines(np.asarray(config.multipliers, float))[np.array(config.probed_steps)]
    claims = []
    for optimizer in config.optimizers:
        claims += [
            *_along_training(optimizer, paths, config),
            *_comparisons(optimizer, "gradient", paths, config),
            _control(optimizer, walk, paths, config),
            *_comparisons(optimizer, "update", paths, config),
        ]
    return claims


def _along_training(optimizer: str, paths: Paths, config: Config) -> Iterable[Claim]:
    cosines = paths.cosines(Group(optimizer, config.middle_batch, "true labels"))
    outside_noise = cosines * np.sqrt(paths.parameters) > NOISE
    for statement, shares in (("γ > 0", cosines > 0), (f"γ √d > {NOISE}", outside_noise)):
        effect = median_estimate(np.mean(shares, axis=1), config.confidence)
        yield Claim(
            f"share of steps with {statement}",
            optimizer,
            effect,
            f"at least {ALMOST_ALWAYS:g}",
            effect.low >= ALMOST_ALWAYS,
        )
    ratio = median_estimate(late_to_early(cosines), config.confidence)
    low, high = STABLE
    stable = low <= ratio.low and ratio.high <= high
    yield Claim("γ, last third over first", optimizer, ratio, f"in {low:g} to {high:g}", stable)


def _comparisons(optimizer: str, vector: str, paths: Paths, config: Config) -> Iterable[Claim]:
    def medians(batch_size: int, labels: str = "true labels") -> np.ndarray:
        return typical(paths.cosines(Group(optimizer, batch_size, labels), vector))

    sizes, middle = config.batch_sizes, config.middle_batch
    rises = [median_change(medians(b), medians(a), config.confidence) for a, b in pairwise(sizes)]
    whole = median_change(medians(sizes[-1]), medians(sizes[0]), config.confidence)
    name = "γ" if vector == "gradient" else f"{vector}'s γ"
    statement = f"change of {name}, batch {sizes[0]} to {sizes[-1]}"
    yield Claim(statement, optimizer, whole, "above 0 at each size", all(rise.low > 0 for rise in rises))
    labels = median_change(medians(middle), medians(middle, "random labels"), config.confidence)
    yield Claim(f"change of {name}, random labels to true", optimizer, labels, "above 0", labels.low > 0)


def _control(optimizer: str, walk: Float[np.ndarray, "probes"], paths: Paths, config: Config) -> Claim:
    updates = paths.cosines(Group(optimizer, config.middle_batch, "true labels"), "update")
    above = median_estimate(typical(updates / walk), config.confidence)
    return Claim("update's γ over a random walk's", optimizer, above, "above 1", above.low > 1)


def schedule_claims(standings: Sequence[Standing], metric: str) -> list[Claim]:
    """Whether the prescribed schedule ends below the baseline that was searched with as many runs."""
    against: Mapping[str, Estimate] = {s.name: s.against[BASELINE] for s in standings if s.name != BASELINE}
    return [
        Claim(f"change of {metric} from {BASELINE}", name, against[name], "below 0", against[name].high < 0)
        for name in (AS_IT_IS, PRESCRIBED)
    ]


def summary(claims: Sequence[Claim]) -> list[str]:
    """A line for each statement: for whom it held and for whom not."""
    lines = []
    for statement in dict.fromkeys(claim.statement for claim in claims):
        of = [claim for claim in claims if claim.statement == statement]
        held, failed = ([c.subject for c in of if c.held is wanted] for wanted in (True, False))
        outcome = "; ".join(
            f"{word} for {', '.join(subjects)}"
            for word, subjects in (("held", held), ("did NOT hold", failed))
            if subjects
        )
        lines.append(f"{statement}, expected {of[0].expected}: {outcome}.")
    return lines
