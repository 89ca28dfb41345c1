"""Muon with one ingredient changed at a time: what is compiled once, and the numbers of each variant."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import optax

from experiments.ingredients.spectra import Chosen, RandomFactor, RandomSpectrum, SignFactor, SpectralPower
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Row
from geometry import PolarExpress, PolarMethod
from optim import Route, Routing, by_name

MUON, ADAMW, EXACT = "muon", "adamw", "exact"
FACTOR, STEPS, MOMENTUM, SCALE, LEAVES = "factor", "steps", "momentum", "scale", "leaves"
CENTRE = 0.02  # the middle of Muon's learning rates on digits


class Variant(NamedTuple):
    """Muon with one ingredient changed, or AdamW, to which all leaves go.

    Attributes:
      ingredient: which one is changed.
      words: what it is in place of Muon's.
      form: what is compiled: one of FORMS, or ADAMW.
      method: in the form FACTOR, what stands in the polar factor's place.
      momentum: β; AdamW's moments have their usual ones.
      centre: the middle of the learning rates tried on digits.
    """

    ingredient: str
    words: str
    form: str
    method: PolarMethod | None = None
    momentum: float = 0.95
    centre: float = CENTRE

    @property
    def numbers(self) -> Mapping[str, float]:
        place = {} if self.method is None else {"method": float(METHODS.index(self.method))}
        return {"momentum": self.momentum, **place}


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        MUON: Variant("", "5 steps of Polar Express, β = 0.95, Nesterov, rms scale, hidden matrices", MUON),
        EXACT: Variant(FACTOR, "U Vᵀ by SVD", FACTOR, SpectralPower(0.0)),
        "root_spectrum": Variant(FACTOR, "U Σ^½ Vᵀ", FACTOR, SpectralPower(0.5)),
        "momentum_itself": Variant(FACTOR, "U Σ Vᵀ", FACTOR, SpectralPower(1.0)),
        "inverted_root": Variant(FACTOR, "U Σ^-½ Vᵀ", FACTOR, SpectralPower(-0.5)),
        "inverted_spectrum": Variant(FACTOR, "U Σ^-1 Vᵀ", FACTOR, SpectralPower(-1.0)),
        "random_spectrum": Variant(FACTOR, "U |N| Vᵀ", FACTOR, RandomSpectrum()),
        "random_factor": Variant(FACTOR, "a random U Vᵀ, ±", FACTOR, RandomFactor()),
        "sign": Variant(FACTOR, "the sign", FACTOR, SignFactor()),
        "steps_1": Variant(STEPS, "1", FACTOR, PolarExpress(1)),
        "steps_2": Variant(STEPS, "2", FACTOR, PolarExpress(2)),
        "steps_3": Variant(STEPS, "3", FACTOR, PolarExpress(3)),
        "steps_8": Variant(STEPS, "8", FACTOR, PolarExpress(8)),
        "no_momentum": Variant(MOMENTUM, "none", MUON, momentum=0.0),
        "less_momentum": Variant(MOMENTUM, "β = 0.8", MUON, momentum=0.8),
        "no_nesterov": Variant(MOMENTUM, "without Nesterov", "no_nesterov"),
        "no_scale": Variant(SCALE, "none", "no_scale", centre=2 * CENTRE),
        "width_scale": Variant(SCALE, "√max(1, out/in)", "width_scale", centre=2 * CENTRE),
        "fan_ratio_scale": Variant(SCALE, "√(out/in)", "fan_ratio_scale", centre=2 * CENTRE),
        "all_matrices": Variant(LEAVES, "all matrices", "all_matrices"),
        ADAMW: Variant(LEAVES, "none (AdamW)", ADAMW, centre=CENTRE / 2),
    }
)
METHODS = tuple(variant.method for variant in VARIANTS.values() if variant.method)


def every_matrix(path: str, shape: tuple[int, ...]) -> Route | None:
    """As by name, but the head too is a hidden matrix.

    >>> every_matrix("params/head/kernel", (32, 10)).kind, every_matrix("params/head/bias", (10,)).kind
    ('hidden', 'other')
    """
    route = by_name(path, shape)
    return route._replace(kind="hidden") if route and route.view else route


# what `optim.muon` is called with otherwise, by the numbers of a run
FORMS: Mapping[str, Callable[[Row], Mapping[str, Any]]] = MappingProxyType(
    {
        MUON: lambda row: {},
        FACTOR: lambda row: {"polar": Chosen(METHODS, row["method"])},
        "no_nesterov": lambda row: {"nesterov": False},
        "no_scale": lambda row: {"scale": None},
        "width_scale": lambda row: {"scale": "width"},
        "fan_ratio_scale": lambda row: {"scale": "fan_ratio"},
        "all_matrices": lambda row: {"routing": Routing(every_matrix)},
    }
)


def optimizer(form: str, row: Row, schedule: optax.Schedule) -> optax.GradientTransformation:
    """What trains the runs of a form, without weight decay, by the numbers of a run."""
    if form == ADAMW:
        return OPTIMIZERS["adamw"].build(schedule, 0.0)
    return OPTIMIZERS["muon"].build(schedule, 0.0, momentum=row["momentum"], **FORMS[form](row))
