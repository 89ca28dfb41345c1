"""The claims about critical batches, each with what was measured and whether it held here.

That Muon's is the largest and that more momentum lowers it is from arXiv:2507.01598; that the noise scale of
an optimizer's own geometry tells it, from arXiv:2602.03001. What weight decay does is disputed, so it is
reported in `decay_effects` and nothing is claimed.
"""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.critical import Critical
from experiments.critical_batch_size.prediction import OWN, Prediction, row_estimate
from experiments.critical_batch_size.variants import Variant
from experiments.study.showing.old_claims import Claim, above, below
from geometry import EUCLIDEAN, momentum_noise_factor
from schedules.search import Estimate

LARGEST, RIVALS = "muon", ("adamw", "momentum", "signum")
NESTEROV = frozenset({"muon"})  # whose V is that of Nesterov's average


class Effect(NamedTuple):
    """How a change of an optimizer's option changes its critical batch.

    Attributes:
      before: the variant compared with.
      after: the variant.
      ratio: its critical batch over that of the other, paired by seeds.
      theory: the ratio that the theory states; None where it states none.
    """

    before: Variant
    after: Variant
    ratio: Estimate
    theory: float | None = None


def all_claims(
    criticals: Mapping[Variant, Critical], predicted: Mapping[str, Prediction], config: Config
) -> list[Claim]:
    """Every claim that the config measures something for."""
    return [
        *optimizer_claims(criticals, config),
        *momentum_claims(criticals, config),
        *prediction_claims(predicted, config),
    ]


def optimizer_claims(criticals: Mapping[Variant, Critical], config: Config) -> list[Claim]:
    """That Muon's critical batch is larger than that of the others."""
    rivals = [name for name in RIVALS if name in config.optimizers] if LARGEST in config.optimizers else []
    return [
        above(
            f"critical batch of {LARGEST} over the other's",
            rival,
            _ratio(criticals, Variant.usual(LARGEST), Variant.usual(rival), config),
            1,
        )
        for rival in rivals
    ]


def momentum_claims(criticals: Mapping[Variant, Critical], config: Config) -> list[Claim]:
    """That the critical batch is lower at the largest momentum than at the smallest."""
    claims = []
    for optimizer in config.momentum_optimizers:
        effects = momentum_effects(optimizer, criticals, config)
        if effects:
            last = effects[-1]
            subject = f"{optimizer}, β {last.before.momentum:g} to {last.after.momentum:g}"
            claims.append(below("critical batch at most momentum over least", subject, last.ratio, 1))
    return claims


def prediction_claims(predicted: Mapping[str, Prediction], config: Config) -> list[Claim]:
    """That an optimizer's own geometry tells its critical batch better than the Euclidean one does."""
    own, euclidean = predicted[OWN], predicted[EUCLIDEAN.name]

    def lead(quantity: str) -> Estimate:
        return row_estimate(getattr(own, quantity) - getattr(euclidean, quantity), config.confidence)

    compared, subject = "own noise scale less Euclidean", "all variants"
    return [
        below(f"log2 error of the predicted critical batch, {compared}", subject, lead("error"), 0),
        below(f"log2 scatter around one factor for all, {compared}", subject, lead("scatter"), 0),
        above(f"rank correlation with the critical batch, {compared}", subject, lead("rank_correlation"), 0),
    ]


def momentum_effects(optimizer: str, criticals: Mapping[Variant, Critical], config: Config) -> list[Effect]:
    """The critical batch at every momentum over that at the smallest, ascending; in theory the ratio of V."""
    of_optimizer = [v for v in config.variants if v.optimizer == optimizer and not v.weight_decay]
    least, *others = sorted(of_optimizer, key=lambda variant: variant.momentum)
    factor = {
        v: float(momentum_noise_factor(v.momentum, nesterov=optimizer in NESTEROV)) for v in of_optimizer
    }
    return [Effect(least, v, _ratio(criticals, v, least, config), factor[v] / factor[least]) for v in others]


def decay_effects(criticals: Mapping[Variant, Critical], config: Config) -> list[Effect]:
    """The critical batch with weight decay over that without."""
    decayed = [variant for variant in config.variants if variant.weight_decay]
    return [
        Effect(v._replace(weight_decay=0.0), v, _ratio(criticals, v, v._replace(weight_decay=0.0), config))
        for v in decayed
    ]


def _ratio(
    criticals: Mapping[Variant, Critical], after: Variant, before: Variant, config: Config
) -> Estimate:
    return criticals[after].batch.over(criticals[before].batch).estimate(config.confidence)
