"""The options that say what a schedule drives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import optax

from experiments.study.options.checks import BelowOne, NotNegative
from experiments.study.options.config import Group
from experiments.study.training.optimizers import BETAS, OPTIMIZERS, Chain, Optimizer, call


@dataclass(frozen=True)
class Optimized:
    """What the schedule drives: a group of a study's options."""

    group: ClassVar[Group] = "training"

    optimizer: Literal[tuple(OPTIMIZERS)] = "adam"
    """What the schedule drives; momentum, sam and asam have one of 0.9, the matrix methods Adam's root mean
    square."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay; sgd and adam have none."""
    decay_mode: Literal["scaled", "independent"] = "scaled"
    """Whether a step's decay is scaled by its learning rate or independent of it."""
    b1: BelowOne | None = None
    """Decay rate of Adam's first moment, the optimizer's own default when not given."""
    b2: BelowOne | None = None
    """Decay rate of Adam's second moment, likewise."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if not self.sound("optimizer"):
            return
        decaying = [name for name, optimizer in OPTIMIZERS.items() if optimizer.decays]
        if self.weight_decay and self.optimizer not in decaying:
            yield f"weight_decay: only {', '.join(decaying)} decay, not {self.optimizer}."
        for name in self.betas:
            if name not in OPTIMIZERS[self.optimizer].betas:
                yield f"{name}: {self.optimizer} has none, only Adam, AdamP, diffGrad, IVON and Lion have."

    def unused(self) -> Iterator[tuple[str, str]]:
        yield from super().unused()
        if not self.weight_decay:
            yield "decay_mode", "there is no weight_decay"

    @property
    def betas(self) -> dict[str, float]:
        """Those that are given."""
        return {name: getattr(self, name) for name in BETAS if getattr(self, name) is not None}

    @property
    def chain(self) -> Chain:
        """What makes the optimizer; independent decay is θ ← θ - decay · θ beside each update."""
        return self._chain(self.betas)

    @property
    def driven(self) -> Optimizer:
        """What the schedule drives, or one a group of parameters."""
        return OPTIMIZERS[self.optimizer]

    def transformation(self, *schedules: optax.Schedule) -> optax.GradientTransformation:
        """The same, but for clipping, with its schedule or those of its groups."""
        return self.chain(*schedules)

    def without_momentum(self, schedule: optax.Schedule) -> optax.GradientTransformation:
        """The same, its momentum 0 where it takes one: what goes inside methods that have their own."""
        momentum = self.driven.momentum
        return self._chain({**self.betas, **({momentum: 0.0} if momentum else {})})(schedule)

    def _chain(self, changes: Mapping[str, float]) -> Chain:
        if self.decay_mode == "scaled":
            return self.driven.chain(self.weight_decay, **changes)
        decay = call("optax.add_decayed_weights", weight_decay=-self.weight_decay)
        return Chain((*self.driven.chain(0.0, **changes).calls, decay))
