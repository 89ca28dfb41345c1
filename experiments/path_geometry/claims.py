"""The claims of arXiv:2306.11922 and controls, each with what was measured and whether it held here."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

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
from experiments.study.showing.old_claims import Claim, above, below
from schedules.search import Scale, Standing, median_change, median_estimate

ALMOST_ALWAYS = 0.95
STABLE = (0.5, 2.0)


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

    sizes, middle, confidence = config.batch_sizes, config.middle_batch, config.confidence
    scale = Scale.of(*map(medians, sizes), medians(middle, "random labels"))
    rises = [median_change(medians(b), medians(a), confidence, scale) for a, b in pairwise(sizes)]
    whole = median_change(medians(sizes[-1]), medians(sizes[0]), confidence, scale)
    name = "γ" if vector == "gradient" else f"{vector}'s γ"
    statement = f"{scale.noun} of {name}, batch {sizes[0]} to {sizes[-1]}"
    yield Claim(statement, optimizer, whole, "above 0 at each size", all(rise.low > 0 for rise in rises))
    labels = median_change(medians(middle), medians(middle, "random labels"), confidence, scale)
    yield above(f"{scale.noun} of {name}, random labels to true", optimizer, labels, 0)


def _control(optimizer: str, walk: Float[np.ndarray, "probes"], paths: Paths, config: Config) -> Claim:
    updates = paths.cosines(Group(optimizer, config.middle_batch, "true labels"), "update")
    ratio = median_estimate(typical(updates / walk), config.confidence)
    return above("update's γ over a random walk's", optimizer, ratio, 1)


def schedule_claims(standings: Sequence[Standing], metric: str) -> list[Claim]:
    """Whether the prescribed schedule ends below the baseline that was searched with as many runs."""
    by_name = {standing.name: standing for standing in standings}
    noun = by_name[BASELINE].scale.noun
    return [
        below(f"{noun} of {metric} from {BASELINE}", name, by_name[name].against[BASELINE], 0)
        for name in (AS_IT_IS, PRESCRIBED)
    ]
