"""What arXiv:2602.03001 reports of a Llama with 160M parameters, as published."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Published(NamedTuple):
    """Validation losses by strategy, and the fraction of steps that the matched batch saved."""

    small: float
    large: float
    euclidean: float
    matched: float
    saved: float


PUBLISHED: Mapping[str, Published] = MappingProxyType(  # constant batches of 64 and 256
    {
        "sign_descent": Published(4.139, 3.936, 3.891, 3.840, 0.226),
        "signum": Published(3.374, 3.446, 3.384, 3.371, 0.666),
        "adamw": Published(3.299, 3.323, 3.313, 3.303, 0.671),
        "spectral_descent": Published(3.749, 3.940, 3.744, 3.729, 0.165),
        "muon": Published(3.304, 3.341, 3.318, 3.306, 0.668),
    }
)
