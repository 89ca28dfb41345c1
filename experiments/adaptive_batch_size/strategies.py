"""How large the batch is along a run: constant, or driven by a noise scale."""

import math
from typing import NamedTuple

import optim
from experiments.adaptive_batch_size.config import ADAPTIVE, CENTRES, LARGE, MATCHED, STRATEGIES, Config
from experiments.study.training.optimizers import OPTIMIZERS
from geometry import EUCLIDEAN, Geometry


class Contestant(NamedTuple):
    """An optimizer with a strategy for its batch; what is tuned and scored."""

    optimizer: str
    strategy: str

    def __str__(self) -> str:
        return f"{self.optimizer}, {self.strategy}"

    @property
    def geometry(self) -> Geometry:
        """Whose noise scale drives the batch, where it is not constant."""
        return OPTIMIZERS[self.optimizer].geometry if self.strategy == MATCHED else EUCLIDEAN

    @property
    def grows(self) -> bool:
        """Whether the batch is driven by a noise scale."""
        return self.strategy in ADAPTIVE

    def batch_size(self, config: Config) -> int:
        """The constant one, or the first."""
        return config.large_batch if self.strategy == LARGE else config.small_batch

    def num_steps(self, config: Config) -> int:
        """How many batches a run sees; where they grow, micro-batches."""
        return config.samples // self.batch_size(config)

    def centre(self, config: Config) -> float:
        """The middle of the learning rates tried first: in proportion to the root of the batch."""
        return CENTRES[self.optimizer] * math.sqrt(self.batch_size(config) / config.small_batch)

    def controller(self, config: Config) -> optim.BatchController:
        """What drives the batch, where it is not constant."""
        return optim.BatchController(
            self.geometry,
            config.small_batch,
            config.large_batch,
            quantum=config.small_batch,
            theta=config.matched_theta if self.strategy == MATCHED else config.euclidean_theta,
            every=config.measure_every,
            warmup_samples=round(config.warmup * config.samples),
            noise_decay=config.noise_decay,
            signal_decay=config.noise_decay,
            coupling=config.coupling,
        )


def contestants(config: Config) -> list[Contestant]:
    """Every optimizer with every strategy."""
    return [Contestant(optimizer, strategy) for optimizer in config.optimizers for strategy in STRATEGIES]
