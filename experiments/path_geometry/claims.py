"""The claims of arXiv:2306.11922 and controls, each with what was measured."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from experiments.path_geometry.config import BASELINE, Config
from experiments.path_geometry.paths import NOISE, RANDOM_LABELS, Group, Paths, late_to_early, walk_along
from experiments.path_geometry.prescription import PRESCRIBED, UNTUNED
from experiments.study.showing.claims import Bound, Claim, above, below
from experiments.study.statistics.curves import typical
from schedules.search import Scale, Standing, median_change, median_estimate

SHARE, LOW, HIGH = 0.95, 0.5, 2.0
ALMOST_ALWAYS = Bound(f"at least {SHARE:g}", lambda effect: effect.low >= SHARE)
STABLE = Bound(f"in {LOW:g} to {HIGH:g}", lambda effect: effect.low >= LOW and effect.high <= HIGH)


def path_claims(paths: Paths, config: Config) -> list[Claim]:
    """The claims about γ, of every optimizer at the middle batch size with true labels, unless stated."""
    walk, claims = walk_along(config), []
    for optimizer in config.optimizers:
        claims += [
            *_along_training(optimizer, paths, config),
            *_comparisons(optimizer, "gradient", paths, config),
            _control(optimizer, walk, paths, config),
            *_comparisons(optimizer, "update", paths, config),
        ]
    return claims


def _along_training(optimizer: str, paths: Paths, config: Config) -> Iterable[Claim]:
    cosines = paths.cosines(Group(optimizer, config.middle_batch))
    outside_noise = cosines * np.sqrt(paths.parameters) > NOISE
    for statement, steps in (("γ > 0", cosines > 0), (f"γ √d > {NOISE}", outside_noise)):
        share = median_estimate(np.mean(steps, axis=1), config.confidence)
        yield Claim(f"share of steps with {statement}", optimizer, share, ALMOST_ALWAYS)
    ratio = median_estimate(late_to_early(cosines), config.confidence)
    yield Claim("γ, last third over first", optimizer, ratio, STABLE)


def _comparisons(optimizer: str, vector: str, paths: Paths, config: Config) -> Iterable[Claim]:
    def medians(*group: int | str) -> Float[np.ndarray, "replicates"]:
        return typical(paths.cosines(Group(optimizer, *group), vector))

    sizes, confidence = config.batch_sizes, config.confidence
    true, random = medians(config.middle_batch), medians(config.middle_batch, RANDOM_LABELS)
    scale = Scale.of(*map(medians, sizes), random)
    rises = [median_change(medians(b), medians(a), confidence, scale) for a, b in pairwise(sizes)]
    rising = Bound("above 0 at each size", lambda effect: all(rise.low > 0 for rise in rises))
    growth = median_change(medians(sizes[-1]), medians(sizes[0]), confidence, scale)
    name = "γ" if vector == "gradient" else f"{vector}'s γ"
    yield Claim(f"{scale.noun} of {name}, batch {sizes[0]} to {sizes[-1]}", optimizer, growth, rising)
    change = median_change(true, random, confidence, scale)
    yield Claim(f"{scale.noun} of {name}, random labels to true", optimizer, change, above(0))


def _control(optimizer: str, walk: Float[np.ndarray, "probes"], paths: Paths, config: Config) -> Claim:
    updates = paths.cosines(Group(optimizer, config.middle_batch), "update")
    ratio = median_estimate(typical(updates / walk), config.confidence)
    return Claim("update's γ over a random walk's", optimizer, ratio, above(1))


def schedule_claims(standings: Sequence[Standing], metric: str) -> list[Claim]:
    """Whether the prescribed schedule ends below the baseline that was searched with as many runs."""
    by_name = {standing.name: standing for standing in standings}
    statement = f"{by_name[BASELINE].scale.noun} of {metric} from {BASELINE}"
    return [
        Claim(statement, name, by_name[name].against[BASELINE], below(0)) for name in (UNTUNED, PRESCRIBED)
    ]
