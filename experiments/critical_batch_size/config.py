"""What a study of critical batch sizes measures."""

import math
from dataclasses import dataclass, field

from experiments.critical_batch_size.variants import CENTRES, Variant
from experiments.study.choices import StudyError, choice_problem
from experiments.study.optimizers import OPTIMIZERS
from experiments.study.options import WorkloadOptions
from experiments.study.tuning import Budget

LEAST_BATCHES = 3  # a law has two constants


@dataclass(frozen=True)
class Config:
    """What is measured; it alone decides the results, bit for bit."""

    workload: str = "digits"
    """What to train."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    metric: str = "train_loss"
    """Metric that is to come down to the target."""
    target: float = 0.02
    """The target; a run is over when the metric is first at or below it."""
    optimizers: tuple[str, ...] = ("momentum", "adamw", "signum", "muon", "orth_dion")
    """What is compared, each at its usual momentum and without weight decay."""
    momenta: tuple[float, ...] = (0.0, 0.7, 0.97)
    """Further momenta that some optimizers are measured with."""
    momentum_optimizers: tuple[str, ...] = ("momentum", "signum", "muon")
    """Those optimizers."""
    decays: tuple[float, ...] = (0.1,)
    """Weight decays λ that some optimizers are measured with; a step at the rate η removes ηλ of a weight."""
    decay_optimizers: tuple[str, ...] = ("adamw", "muon")
    """Those optimizers."""
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)
    """Batch sizes, ascending."""
    least_steps: int = 250
    """A run has this many steps, and as many more as `max_samples` examples make; its learning rate is
    constant, so that in a longer run the target would be reached no sooner."""
    max_samples: int = 30_000
    """See `least_steps`."""
    evaluation_ratio: float = 1.15
    """From one evaluation to the next, a run's steps grow by this factor, or by one."""
    first_rates: int = 5
    """Learning rates that each optimizer is first tried with at each batch size, a factor of 2 apart."""
    more_rates: int = 3
    """Further ones, each placed by the scores so far: beyond an edge, or halfway beside the best."""
    screen_replicates: int = 3
    """Seeds for each learning rate."""
    confirm_replicates: int = 12
    """Fresh seeds at the best rate; only these runs are reported."""
    noise_points: int = 64
    """How many times a confirming run is probed for its noise scales, at equal distances."""
    noise_batch: int = 1024
    """Fresh examples that a probe measures the gradient noise with."""
    noise_parts: int = 16
    """Equal parts that these are split in."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""

    def __post_init__(self):
        problems = [*self._optimizer_problems(), *self._list_problems(), *self._number_problems()]
        if any(problems):
            raise StudyError("\n".join(filter(None, problems)))

    def _optimizer_problems(self) -> list[str | None]:
        problems = [choice_problem("optimizers", name, CENTRES) for name in self.optimizers]
        if not self.optimizers:
            problems.append("optimizers: needs one at least.")
        for name in ("momentum_optimizers", "decay_optimizers"):
            problems += [choice_problem(name, one, self.optimizers) for one in getattr(self, name)]
        for name in ("optimizers", "momentum_optimizers", "decay_optimizers", "momenta", "decays"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                problems.append(f"{name}: each may be named once, got {getattr(self, name)}.")
        return problems

    def _list_problems(self) -> list[str]:
        problems = []
        sizes = self.batch_sizes
        if len(sizes) < LEAST_BATCHES or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
            problems.append(
                f"batch_sizes: must be at least {LEAST_BATCHES} positive ones, ascending, got {sizes}."
            )
        if not all(0 <= momentum < 1 for momentum in self.momenta):
            problems.append(f"momenta: must be in [0, 1), got {self.momenta}.")
        if not all(0 < decay < math.inf for decay in self.decays):
            problems.append(f"decays: must be positive, none is always measured, got {self.decays}.")
        return problems

    def _number_problems(self) -> list[str]:
        least = {
            "least_steps": 1,
            "max_samples": 0,
            "noise_points": 1,
            "noise_parts": 2,
            "confirm_replicates": 2,
        }
        problems = [
            f"{name}: must be at least {low}, got {getattr(self, name)}."
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        try:
            _ = self.budget
        except StudyError as error:
            problems.append(str(error))
        if self.noise_batch < 1 or self.noise_batch % max(1, self.noise_parts):
            problems.append(
                f"noise_batch: must be a positive multiple of noise_parts={self.noise_parts},"
                f" got {self.noise_batch}."
            )
        if not math.isfinite(self.target):
            problems.append(f"target: must be finite, got {self.target}.")
        if not 1 < self.evaluation_ratio < math.inf:
            problems.append(f"evaluation_ratio: must be above 1, got {self.evaluation_ratio}.")
        if not 0 < self.confidence < 1:
            problems.append(f"confidence: must be between 0 and 1, got {self.confidence}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        return problems

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Everything that is measured: each optimizer as usual, then with other momenta, then with decay."""
        usual = [Variant.usual(name) for name in self.optimizers]
        by_momentum = [
            Variant(name, momentum) for name in self.momentum_optimizers for momentum in self.momenta
        ]
        decayed = [
            Variant(name, OPTIMIZERS[name].usual_momentum, decay)
            for name in self.decay_optimizers
            for decay in self.decays
        ]
        return tuple(dict.fromkeys((*usual, *by_momentum, *decayed)))

    def horizon(self, batch_size: int) -> int:
        """Steps of a run."""
        return self.least_steps + self.max_samples // batch_size

    def evaluated_steps(self, batch_size: int) -> tuple[int, ...]:
        """After how many updates a run is evaluated, the last time at its end."""
        horizon, steps = self.horizon(batch_size), [1]
        while steps[-1] < horizon:
            steps.append(min(horizon, max(steps[-1] + 1, round(steps[-1] * self.evaluation_ratio))))
        return tuple(steps)

    def probed_steps(self, batch_size: int) -> range:
        """Before which updates a confirming run is probed for its noise scales."""
        horizon = self.horizon(batch_size)
        return range(0, horizon, math.ceil(horizon / self.noise_points))

    @property
    def budget(self) -> Budget:
        """What is spent on each variant at each batch size; decay is a variant's own, and not tuned."""
        return Budget(
            self.first_rates, self.more_rates, (0.0,), self.screen_replicates, self.confirm_replicates
        )

    @property
    def chunk_runs(self) -> int:
        """Runs that are trained and recorded together."""
        return max(self.first_rates * self.screen_replicates, self.confirm_replicates)

    @property
    def planned_runs(self) -> int:
        each = self.budget.runs + self.confirm_replicates
        return len(self.variants) * len(self.batch_sizes) * each
