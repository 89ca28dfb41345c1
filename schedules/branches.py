"""Schedules that share their beginning: one long trunk, and a cooldown that leaves it for every horizon.

A warm-up that is a fraction of the horizon, and a decay that is a fraction of what follows it, give two
horizons no step in common. Here the warm-up is a number of steps, the trunk is computed once, and a branch is
its cooldown alone: it goes on from the state that the trunk had at the branch's start, and is the run from
scratch, step by step. Source: Hägele et al. (2024), arXiv:2405.18392.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from schedules.shapes import DECAY_FORMS
from schedules.warmup import WARMUPS

Curve = Callable[[Float[Array, "steps"]], Float[Array, "steps"]]


@dataclass(frozen=True)
class PowerLaw:
    """The stable rate that falls with the tokens seen: min(η_max, B·a·n^b) over η_max, after n tokens.

    Attributes:
      max_lr: η_max, the base learning rate that the multipliers belong to.
      batch: B, sequences a step.
      tokens_per_step: n is so much times the number of the step.
      scale, exponent: a and b; the published fit is 4 and -0.51.

    Raises ValueError unless all but the exponent are positive and that is negative. Source: Shen et al.
    (2024), arXiv:2408.13359.

    >>> f"{PowerLaw(max_lr=0.02, batch=128, tokens_per_step=1.0).crossover:.2e}"
    '4.40e+08'
    """

    max_lr: float
    batch: int
    tokens_per_step: float
    scale: float = 4.0
    exponent: float = -0.51

    def __post_init__(self):
        for name, value in vars(self).items():
            if not 0 < (-value if name == "exponent" else value) < math.inf:
                side = "negative" if name == "exponent" else "positive"
                raise ValueError(f"{name} must be {side} and finite, got {value}")

    @property
    def crossover(self) -> float:
        """The tokens at which the rate begins to fall."""
        return (self.batch * self.scale / self.max_lr) ** (-1 / self.exponent)

    def __call__(self, steps: Float[Array, "steps"]) -> Float[Array, "steps"]:
        """The multipliers at numbers of steps, in [0, 1]."""
        passed = steps * (self.tokens_per_step / self.crossover)
        return jnp.maximum(passed, 1) ** self.exponent


@dataclass(frozen=True)
class Trunk:
    """What all branches begin with: a warm-up over a number of steps, then a stable rate.

    Attributes:
      warmup: steps.
      warmup_form: a name of `schedules.warmup.WARMUPS`.
      stable: numbers of steps → multipliers in [0, 1], `jnp.ones_like` for a constant rate; a warm-up
        multiplies it.

    Raises ValueError for a negative warm-up and for a form of no such name.
    """

    warmup: int = 0
    warmup_form: str = "linear"
    stable: Curve = jnp.ones_like

    def __post_init__(self):
        if self.warmup < 0:
            raise ValueError(f"warmup must be at least 0 steps, got {self.warmup}")
        if self.warmup_form not in WARMUPS:
            raise ValueError(f"warmup_form must be in {tuple(WARMUPS)}, got {self.warmup_form!r}")

    def multipliers(self, num_steps: int) -> Float[Array, "steps"]:
        """The first multipliers of the trunk."""
        steps = jnp.arange(num_steps, dtype=float)
        risen = jnp.clip(steps / max(self.warmup, 1), 0, 1) if self.warmup else jnp.ones_like(steps)
        return WARMUPS[self.warmup_form](risen) * self.stable(steps)


@dataclass(frozen=True)
class Cooldown:
    """How a branch ends.

    Attributes:
      length: an integer number of steps, or a fraction of the horizon, rounded down to steps.
      form: a name of `schedules.shapes.DECAY_FORMS`, or a function u → multiplier of the fraction u of the
        cooldown that is done: `lambda u: family.curve_at(u, params)` is any family's. The first step of a
        cooldown has u = 0, the last of n steps u = 1 - 1/n.
      floor: where a form by name ends.

    Raises ValueError for steps below 1 and a fraction outside (0, 1), for a form of no such name, and for a
    floor outside [0, 1] or beside a function.
    """

    length: int | float
    form: str | Curve = "linear"
    floor: float = 0.0

    def __post_init__(self):
        if self.length < 1 if isinstance(self.length, int) else not 0 < self.length < 1:
            raise ValueError(f"length must be steps, at least 1, or a fraction in (0, 1), got {self.length}")
        if isinstance(self.form, str) and self.form not in DECAY_FORMS:
            raise ValueError(f"form must be a function or in {tuple(DECAY_FORMS)}, got {self.form!r}")
        if not 0 <= self.floor <= 1 or (self.floor and not isinstance(self.form, str)):
            raise ValueError(f"floor must be in [0, 1], and 0 where form is a function, got {self.floor:g}")

    def steps(self, horizon: int) -> int:
        """How long it is at the end of so many steps.

        >>> Cooldown(0.29).steps(100), Cooldown(12).steps(100)
        (29, 12)
        """
        if isinstance(self.length, int):
            return self.length
        return math.floor(self.length * horizon + 1e-9)  # 0.29 · 100 is below 29 in binary

    def multipliers(self, num_steps: int) -> Float[Array, "steps"]:
        """What the trunk's last level is multiplied by, step for step."""
        done = jnp.arange(num_steps, dtype=float) / num_steps
        if isinstance(self.form, str):
            return 1 - (1 - self.floor) * DECAY_FORMS[self.form](done)
        return self.form(done)


class Branch(NamedTuple):
    """One horizon's own steps.

    Attributes:
      horizon: steps of the whole run.
      start: of these the trunk makes so many.
      multipliers: of the others.
    """

    horizon: int
    start: int
    multipliers: Float[Array, "cooldown"]


class Branches(NamedTuple):
    """A trunk's multipliers up to where the last branch leaves it, and the branches, shortest first."""

    trunk: Float[Array, "steps"]
    branches: tuple[Branch, ...]

    @property
    def num_steps(self) -> int:
        """How many steps all of them take, the trunk's once.

        >>> shared = branches(Trunk(100), [500, 1000, 2000, 4000], Cooldown(0.2))
        >>> shared.num_steps, sum(branch.horizon for branch in shared.branches)
        (4700, 7500)
        """
        return len(self.trunk) + sum(len(branch.multipliers) for branch in self.branches)

    def from_scratch(self, branch: Branch) -> Float[Array, "horizon"]:
        """The multipliers of the whole run that ends as this branch does."""
        return jnp.concatenate([self.trunk[: branch.start], branch.multipliers])

    def consecutive(self) -> Float[Array, "horizon"]:
        """The multipliers of the one run that cools down for each horizon and goes on from there, at the
        trunk's rate: WSD-S, which copies no state.

        Raises ValueError where a cooldown begins before the one before it ended. Source: Wen et al. (2024),
        arXiv:2410.05192.
        """
        for earlier, later in itertools.pairwise(self.branches):
            if later.start < earlier.horizon:
                raise ValueError(
                    f"the cooldown to {later.horizon} steps begins at {later.start},"
                    f" before the one to {earlier.horizon} ended"
                )
        last = self.branches[-1]
        run = self.from_scratch(last)
        for branch in self.branches[:-1]:
            run = run.at[branch.start : branch.horizon].set(branch.multipliers)
        return run


def branches(trunk: Trunk, horizons: Sequence[int], cooldown: Cooldown) -> Branches:
    """The schedules of all horizons that one trunk serves.

    A branch of T steps leaves the trunk at T - n for a cooldown of n steps, and its first step has the
    trunk's own multiplier there.

    >>> shared = branches(Trunk(warmup=2), [6, 12], Cooldown(0.5))
    >>> shared.trunk.tolist()
    [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    >>> shared.from_scratch(shared.branches[0])[3:].round(2).tolist()
    [1.0, 0.669..., 0.329...]

    Raises ValueError where there is no horizon, they do not ascend, or one is too short for the warm-up and a
    cooldown of at least one step.
    """
    if not horizons or any(later <= earlier for earlier, later in itertools.pairwise(horizons)):
        raise ValueError(f"horizons must be one or more that ascend, got {list(horizons)}")
    lengths = [cooldown.steps(horizon) for horizon in horizons]
    for horizon, length in zip(horizons, lengths, strict=True):
        if length < 1 or trunk.warmup + length > horizon:
            raise ValueError(
                f"horizons must hold a warm-up of {trunk.warmup} steps and a cooldown of at least one,"
                f" got {horizon} with a cooldown of {length}"
            )
    starts = [horizon - length for horizon, length in zip(horizons, lengths, strict=True)]
    levels = trunk.multipliers(max(starts) + 1)
    return Branches(
        levels[:-1],
        tuple(
            Branch(horizon, start, levels[start] * cooldown.multipliers(length))
            for horizon, start, length in zip(horizons, starts, lengths, strict=True)
        ),
    )
