"""All measures by name, and what they say of a network."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import jax
from jaxtyping import Array, Float

from geometry.measures.confidence import CONFIDENCE
from geometry.measures.criteria import CRITERIA
from geometry.measures.distances import DISTANCES
from geometry.measures.gradients import GRADIENTS
from geometry.measures.kernels import NORMS
from geometry.measures.margin import MARGINS
from geometry.measures.measure import Family, Measure, Network
from geometry.measures.pac_bayes import PAC_BAYES
from geometry.measures.paths import PATHS
from geometry.measures.sharpness import SHARPNESS

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "norms": NORMS,
        "distances": DISTANCES,
        "margins": MARGINS,
        "paths": PATHS,
        "pac_bayes": PAC_BAYES,
        "sharpness": SHARPNESS,
        "gradients": GRADIENTS,
        "criteria": CRITERIA,
        "confidence": CONFIDENCE,
    }
)

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {name: measure for family in FAMILIES.values() for name, measure in family.measures.items()}
)


def measured(network: Network, families: Iterable[str] = tuple(FAMILIES)) -> dict[str, Float[Array, ""]]:
    """What every measure of these families says of a network, by its name in `MEASURES`.

    A pure function of the network, to be compiled whole: what families share is then computed once. Only
    networks with one training loss compare fairly (arXiv:2010.11924), and of a network that never reached it
    nothing is known but that.

    Raises ValueError for a family that there is not.
    """
    values = {}
    for family in families:
        if family not in FAMILIES:
            raise ValueError(f"families: each must be one of {list(FAMILIES)}, got {family!r}")
        quantities_of, measures = FAMILIES[family]
        key = jax.random.fold_in(network.key, list(FAMILIES).index(family))
        quantities = quantities_of(network._replace(key=key))
        values |= {name: measure.value(quantities) for name, measure in measures.items()}
    return values
