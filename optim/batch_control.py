"""When a larger batch pays: a controller that lets the batch grow with the gradient's noise scale."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from geometry import EUCLIDEAN, Geometry, NoiseAverage, NoiseScale
from geometry.noise import NOISE_GEOMETRIES
from optim.options import check_choice, check_fraction, check_number

RateCoupling = Literal["sqrt", "linear", "none"]
Measure = Callable[[], NoiseScale]

_INTEGERS = 2**31  # sizes and samples are counted in int32


class BatchState(NamedTuple):
    """Where a run with an adaptive batch stands.

    Attributes:
      batch_size: B, the examples of the next batch.
      learning_rate_factor: ω, to multiply the scheduled learning rate with.
      average: the running averages of noise² and signal².
      steps: batches used so far.
      samples: examples used so far, or the largest int32; a schedule is indexed by this.
    """

    batch_size: Int[Array, ""]
    learning_rate_factor: Float[Array, ""]
    average: NoiseAverage
    steps: Int[Array, ""]
    samples: Int[Array, ""]


@dataclass(frozen=True)
class BatchController:
    """Lets the batch grow so that the gradient's noise stays below θ times its signal.

    After every `every`-th batch the noise scale is measured and its averages N of noise² and M of signal²
    go on: N ← β N + (1 - β) noise², and likewise M; a measurement that is not finite is left out. After the
    warm-up, each measurement is followed by

        B ← max(⌈N / (θ² M)⌉, B), rounded up to a multiple of `quantum`, at most `max_batch_size`,

    and the learning rate by ω ← ω √(B_new / B_old). The batch at which noise/√B is θ times the signal gains
    the fraction κ = (1 - θ)² of an infinite batch's step under the sign and spectral norms, 1 / (1 + θ²)
    under the Euclidean. The batch never shrinks. Source: arXiv:2602.03001, whose defaults these are (its code
    rounds down).

    `init`, then one `update` after every batch; pure, with nothing that a growing batch would recompile:

    >>> import geometry
    >>> controller = BatchController(geometry.SIGN, 64, 4096, quantum=128, every=1)
    >>> scale = geometry.NoiseScale(jnp.sqrt(313.2528), jnp.ones(()), geometry.SIGN)
    >>> state = controller.update(controller.init(), lambda: scale)  # 313.2528 / 0.6² = 870.1
    >>> int(state.batch_size), round(float(state.learning_rate_factor), 3)  # √(896 / 64)
    (896, 3.742)

    Attributes:
      geometry: EUCLIDEAN, SIGN or SPECTRAL, the norm that the optimizer descends by.
      batch_size: the examples of the first batch; it may be traced, as all numbers here.
      max_batch_size: the most.
      quantum: grown batches are multiples of this many examples.
      theta: θ between 0 and 1; 0.3 for EUCLIDEAN and 0.6 otherwise when None.
      every: F, batches from one measurement to the next.
      warmup_samples: examples before the batch may grow; the averages are kept from the start.
      noise_decay: β of N, a fraction in [0, 1).
      signal_decay: β of M, likewise.
      coupling: whether ω follows the "sqrt" of the growth, the growth itself ("linear"), or stays ("none").

    Raises:
      ValueError: an option is outside what it may be.
    """

    geometry: Geometry
    batch_size: ArrayLike
    max_batch_size: ArrayLike
    quantum: ArrayLike = 1
    theta: ArrayLike | None = None
    every: ArrayLike = 100
    warmup_samples: ArrayLike = 0
    noise_decay: ArrayLike = 0.9
    signal_decay: ArrayLike = 0.9
    coupling: RateCoupling = "sqrt"

    def __post_init__(self):
        if self.geometry not in NOISE_GEOMETRIES:
            known = ", ".join(geometry.name for geometry in NOISE_GEOMETRIES)
            raise ValueError(f"geometry must be one of {known}, got {self.geometry.name}")
        for name, least in {"batch_size": 1, "quantum": 1, "every": 1, "warmup_samples": 0}.items():
            check_number(name, getattr(self, name), least, _INTEGERS)
        if not isinstance(self.batch_size, jax.core.Tracer):
            check_number("max_batch_size", self.max_batch_size, self.batch_size, _INTEGERS)
        if self.theta is not None:
            check_fraction("theta", self.theta)
        check_number("noise_decay", self.noise_decay, 0, 1)
        check_number("signal_decay", self.signal_decay, 0, 1)
        check_choice("coupling", self.coupling, get_args(RateCoupling))

    @classmethod
    def norm_test(cls, batch_size: ArrayLike, max_batch_size: ArrayLike, **options: Any) -> "BatchController":
        """The norm test, B ← max(⌈tr Ĉ/(θ² ‖g‖²)⌉, B), as AdAdaGrad takes it after every batch
        (arXiv:2402.11215): without averages, and with the learning rate as it is.

        Where each `measure` is a `geometry.inner_product_scale` it is the inner-product test
        (arXiv:1710.11258), ⌈Var⟨gᵢ, g⟩/(θ² ‖g‖⁴)⌉, which never asks for more.

        Args:
          batch_size: the examples of the first batch.
          max_batch_size: the most.
          **options: all others of a controller but the geometry.
        """
        test = {"every": 1, "noise_decay": 0.0, "signal_decay": 0.0, "coupling": "none"}
        return cls(EUCLIDEAN, batch_size, max_batch_size, **test | options)

    def init(self) -> BatchState:
        """Before the first batch."""
        batch_size = jnp.array(self.batch_size, jnp.int32)  # a copy: the state may be donated
        steps, samples = (jnp.zeros([], jnp.int32) for _ in range(2))
        return BatchState(batch_size, jnp.ones([]), NoiseAverage.init(), steps, samples)

    def due(self, state: BatchState) -> Bool[Array, ""]:
        """Whether the next batch is to be measured."""
        return (state.steps + 1) % self.every == 0

    def update(self, state: BatchState, measure: Measure, samples: ArrayLike | None = None) -> BatchState:
        """After a batch.

        Args:
          state: the state before it.
          measure: () → the noise scale of the batch's gradient in `geometry`, from ranks, accumulated
            micro-batches or both; it is called where this is traced, and computed when it is due.
          samples: the examples in the batch where they were not `state.batch_size`, as in a last one.

        Raises:
          ValueError: the scale measured is one of another geometry.
        """
        used = _capped_sum(state.samples, state.batch_size if samples is None else samples)
        state = state._replace(steps=optax.safe_increment(state.steps), samples=used)

        def adapted():
            scale = measure()
            if scale.geometry != self.geometry:
                raise ValueError(
                    f"measure must return the noise scale in the geometry {self.geometry.name},"
                    f" got {scale.geometry.name}"
                )
            return self._grown(state._replace(average=self._averaged(state.average, scale)))

        return jax.lax.cond(state.steps % self.every == 0, adapted, lambda: state)

    def _averaged(self, average: NoiseAverage, scale: NoiseScale) -> NoiseAverage:
        new = average.add(scale, self.noise_decay, self.signal_decay)
        measured = jnp.isfinite(new.noise) & jnp.isfinite(new.signal)
        return jax.tree.map(lambda new, old: jnp.where(measured, new, old), new, average)

    def _grown(self, state: BatchState) -> BatchState:
        wanted = state.average.value / self._theta**2
        rounded = self.quantum * jnp.ceil(wanted / self.quantum)
        # capped while it is a float, since the noise scale is infinite where there is no signal
        larger = jnp.minimum(rounded, self.max_batch_size).astype(jnp.int32)
        grows = (wanted > state.batch_size) & (state.samples >= self.warmup_samples)
        batch_size = jnp.where(grows, larger, state.batch_size)
        factor = self._rate_growth(batch_size / state.batch_size) * state.learning_rate_factor
        return state._replace(batch_size=batch_size, learning_rate_factor=factor)

    def _rate_growth(self, growth: Float[Array, ""]) -> Float[Array, ""]:
        return {"sqrt": jnp.sqrt(growth), "linear": growth, "none": jnp.ones_like(growth)}[self.coupling]

    @property
    def _theta(self) -> ArrayLike:
        default = 0.3 if self.geometry == EUCLIDEAN else 0.6
        return default if self.theta is None else self.theta


def _capped_sum(total: Int[Array, ""], more: ArrayLike) -> Int[Array, ""]:
    most = jnp.iinfo(jnp.int32).max
    return jnp.where(total > most - more, most, total + more)
