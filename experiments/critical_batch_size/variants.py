"""What is compared: optimizers, each with a momentum and a weight decay."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from experiments.study.training.optimizers import OPTIMIZERS
from geometry import Geometry, momentum_noise_factor

CENTRE_BATCH = 64
CENTRES: Mapping[str, float] = MappingProxyType(  # of the learning rates tried there at the usual momentum
    {"momentum": 0.2, "adamw": 0.03, "signum": 0.01, "muon": 0.04, "dion": 0.04, "orth_dion": 0.04}
)
NESTEROV = frozenset({"muon"})  # whose V is that of Nesterov's average


class Variant(NamedTuple):
    """An optimizer with its momentum β and weight decay λ, of which a step at the rate η removes ηλ."""

    optimizer: str
    momentum: float
    weight_decay: float = 0.0

    @classmethod
    def usual(cls, optimizer: str) -> "Variant":
        return cls(optimizer, OPTIMIZERS[optimizer].usual_momentum)

    @property
    def name(self) -> str:
        """The optimizer, and what is not usual about it.

        >>> Variant("muon", 0.5).name, Variant("adamw", 0.9, 0.1).name, Variant.usual("muon").name
        ('muon β=0.5', 'adamw λ=0.1', 'muon')
        """
        words = [self.optimizer]
        if self.momentum != OPTIMIZERS[self.optimizer].usual_momentum:
            words.append(f"β={self.momentum:g}")
        if self.weight_decay:
            words.append(f"λ={self.weight_decay:g}")
        return " ".join(words)

    @property
    def geometry(self) -> Geometry:
        return OPTIMIZERS[self.optimizer].geometry

    @property
    def noise_factor(self) -> float:
        """V(β), to which the critical batch is in proportion by theory; see `momentum_noise_factor`."""
        return float(momentum_noise_factor(self.momentum, nesterov=self.optimizer in NESTEROV))

    def centre(self, batch_size: int) -> float:
        """The middle of the learning rates tried first, which grows as the root of the batch size."""
        rate = CENTRES[self.optimizer] * math.sqrt(batch_size / CENTRE_BATCH)
        if self.optimizer == "momentum":  # heavy ball adds gradients up, where all others average them
            rate *= (1 - self.momentum) / (1 - OPTIMIZERS["momentum"].usual_momentum)
        return rate
