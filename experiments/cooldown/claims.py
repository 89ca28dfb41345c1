"""What is claimed of cooldowns and branches, and what the confirming runs say of it.

All branches of a seed share its trunk, so that what happens to one horizon happens to all: whatever is
compared is paired by seed, and a slope over horizons is one number a seed.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from experiments.cooldown.config import FORM, LENGTH
from experiments.cooldown.endings import (
    CLAIMED,
    COSINE,
    SEARCHED,
    Setting,
    horizon_steps,
    search_steps,
)
from experiments.cooldown.runs import Chosen, Results, Scores
from experiments.study.showing.claims import Claim, at_most, exactly, holds, not_above
from schedules.search import Estimate, Scale, median_change, median_difference

MOST_STEPS, MOST_SEARCH_STEPS = 2 / 3, 0.45  # of those of whole runs


def claims(results: Results) -> list[Claim]:
    """Of every horizon those about losses, and those about steps."""
    return [
        *_cooldown_claims(results),
        *_scratch_claims(results),
        *_contest_claims(results),
        *_search_claims(results),
        Claim(
            "share of the steps of separate runs",
            f"a fifth, {len(results.config.horizons)} horizons",
            exactly(horizon_steps(LENGTH, results.config).share),
            at_most(round(MOST_STEPS, 3)),
        ),
    ]


def scale_of(results: Results) -> Scale:
    """That of all that is compared."""
    return Scale.of(*results.confirmed.values(), *results.scratch.values())


def change(setting: Setting, reference: Setting, results: Results) -> Estimate:
    """Of the median loss, paired by seed."""
    scores, others = results.confirmed[setting], results.confirmed[reference]
    return median_change(scores, others, results.config.confidence, scale_of(results))


def changes(
    chosen: Chosen, references: Sequence[Setting], results: Results
) -> Mapping[str | float, list[Estimate]]:
    """By what is compared, the change from the reference at each horizon."""
    return {
        name: [change(*pair, results) for pair in zip(settings, references, strict=True)]
        for name, settings in chosen.items()
    }


def scratch_change(setting: Setting, results: Results) -> Estimate:
    """Of branches from runs from scratch, whose seeds are others: pairs of them have nothing in common."""
    scores, others = results.confirmed[setting], results.scratch[setting.horizon]
    return median_change(scores, others, results.config.confidence, scale_of(results))


def slopes(
    losses: Sequence[Scores], horizons: Sequence[int], scale: Scale
) -> Float[np.ndarray, "replicates"]:
    """Of a straight line through log loss (the loss, where it may be negative) over log horizon, one a seed.

    >>> slopes([np.array([4.0, 9.0]), np.array([1.0, 18.0])], [10, 40], Scale.RELATIVE).round(9).tolist()
    [-1.0, 0.5]
    """
    steps = np.log(horizons) - np.mean(np.log(horizons))
    with np.errstate(invalid="ignore"):
        found = steps @ scale.levels(np.array(losses)) / np.sum(steps**2)
    return np.where(np.isfinite(found), found, np.inf)


def branch_slopes(results: Results) -> Float[np.ndarray, "replicates"]:
    """Those of the claimed cooldown, each over the branches of one trunk."""
    losses = [results.confirmed[setting] for setting in results.contestants[CLAIMED]]
    return slopes(losses, results.config.horizons, scale_of(results))


def scratch_slopes(results: Results) -> Float[np.ndarray, "replicates"]:
    """Those of the same from scratch, each over runs that share nothing."""
    return slopes(list(results.scratch.values()), results.config.horizons, scale_of(results))


def _cooldown_claims(results: Results) -> Iterator[Claim]:
    """That 1 - sqrt is the best form, and a fifth long enough."""
    noun, fifth = scale_of(results).noun, results.lengths[LENGTH]
    others = [settings for form, settings in results.forms.items() if form != FORM]
    longer = [settings for length, settings in results.lengths.items() if length > LENGTH]
    for setting, *rivals in zip(results.forms[FORM], *others, strict=True) if others else ():
        effect = change(setting, _best(rivals, results), results)
        yield Claim(
            f"{noun} by {FORM} from the best other form", f"{setting.horizon} steps", effect, at_most(0)
        )
    for setting, *rivals in zip(fifth, *longer, strict=True) if longer else ():
        effect = change(setting, _best(rivals, results), results)
        yield Claim(
            f"{noun} by a fifth from the best longer one", f"{setting.horizon} steps", effect, not_above(0)
        )


def _best(settings: Sequence[Setting], results: Results) -> Setting:
    """By the screening."""
    return min(settings, key=results.screened.__getitem__)


def _scratch_claims(results: Results) -> Iterator[Claim]:
    """That branches and runs from scratch agree, at each horizon and in how the loss falls over them."""
    statement = f"{scale_of(results).noun} by branches from runs from scratch"
    for setting in results.contestants[CLAIMED]:
        yield Claim(statement, f"{setting.horizon} steps", scratch_change(setting, results), holds(0))
    difference = median_difference(branch_slopes(results), scratch_slopes(results), results.config.confidence)
    yield Claim("difference of their slopes over horizons", "all horizons", difference, holds(0))


def _contest_claims(results: Results) -> Iterator[Claim]:
    """That a branch is no worse than a cosine made for its horizon."""
    statement = f"{scale_of(results).noun} by a branch from the tuned cosine"
    for setting, cosine in zip(results.contestants[CLAIMED], results.contestants[COSINE], strict=True):
        yield Claim(statement, f"{setting.horizon} steps", change(setting, cosine, results), not_above(0))


def _search_claims(results: Results) -> Iterator[Claim]:
    """That a search through branches finds what one through whole runs finds, in fewer steps."""
    winners = {setting.horizon: setting for setting in results.contestants[SEARCHED]}
    noun = scale_of(results).noun
    for horizon, whole in results.wholes.items():
        effect = change(winners[horizon], whole, results)
        yield Claim(
            f"{noun} by the branches' winner from that of whole runs", f"{horizon} steps", effect, holds(0)
        )
    for horizon in results.wholes:
        effect = exactly(search_steps(horizon, results.config).share)
        yield Claim(
            "share of the search's steps through whole runs",
            f"{horizon} steps",
            effect,
            at_most(MOST_SEARCH_STEPS),
        )
