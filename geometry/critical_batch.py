"""How many steps and samples a target takes at each batch size, and beyond which one samples are wasted.

A law S(b) has the fewest steps S_min, those of an infinite batch, and a scale in examples. The critical batch
size b* is where the samples b S(b) (the calls of a stochastic first-order oracle) are fewest; under the
HYPERBOLA, whose samples only grow with b, it is where both steps and samples are twice their fewest.

- INVERSE_ROOT  S = S_min / (1 - √(scale/b)), infinite for b ≤ scale; b* = 9/4 scale
- INVERSE       S = S_min / (1 - scale/b), infinite for b ≤ scale; b* = 2 scale
- HYPERBOLA     S = S_min (1 + scale/b); b* = scale

The first two solve a convergence bound for the steps (arXiv:2507.01598, see `bound_law`). The third has the
Euclidean noise scale for its scale (McCandlish et al., arXiv:1812.06162): where that stays the same along the
run, steps at the best learning rate gain `NoiseScale.relative_gain`, and 1 / that as many are needed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from geometry.partial import Partial


@dataclass(frozen=True)
class BatchForm:
    """The shape of S(b), free of units. Its functions take and return numbers, NumPy or JAX arrays.

    A value, as a `Geometry` is: compare by ==.

    Attributes:
      name: how it is called.
      relative_steps: b/scale → S/S_min.
      relative_batch_size: its inverse, S/S_min → b/scale; infinite where S ≤ S_min, which no batch attains.
      critical_ratio: b*/scale.
      noise_power: p, where it solves a bound whose noise falls as b^(-p); None otherwise.
    """

    name: str
    relative_steps: Callable[[ArrayLike], ArrayLike]
    relative_batch_size: Callable[[ArrayLike], ArrayLike]
    critical_ratio: float
    noise_power: float | None = None

    def __repr__(self) -> str:
        return self.name


def _beyond_one(function: Callable[[ArrayLike], ArrayLike], x: ArrayLike) -> ArrayLike:
    """function(x) where x > 1, and infinity elsewhere."""
    numpy = jnp if isinstance(x, jax.Array) else np
    exceeds = x > 1
    return numpy.where(exceeds, function(numpy.where(exceeds, x, 2.0)), numpy.inf)


def _bound_steps(power: float, ratio: ArrayLike) -> ArrayLike:
    return 1 / (1 - ratio**-power)


def _bound_batch_size(power: float, steps: ArrayLike) -> ArrayLike:
    return (1 - 1 / steps) ** (-1 / power)


def _bound_form(name: str, power: float) -> BatchForm:
    """S/S_min = 1 / (1 - u^(-p)) for u = b/scale > 1; u S/S_min is least at u = (1 + p)^(1/p)."""
    return BatchForm(
        name,
        relative_steps=Partial(_beyond_one, (Partial(_bound_steps, (power,)),)),
        relative_batch_size=Partial(_beyond_one, (Partial(_bound_batch_size, (power,)),)),
        critical_ratio=(1 + power) ** (1 / power),
        noise_power=power,
    )


def _hyperbola(ratio: ArrayLike) -> ArrayLike:
    return 1 + 1 / ratio


def _inverse_hyperbola(steps: ArrayLike) -> ArrayLike:
    return 1 / (steps - 1)


INVERSE_ROOT = _bound_form("inverse_root", 0.5)
INVERSE = _bound_form("inverse", 1.0)
HYPERBOLA = BatchForm(
    "hyperbola",
    relative_steps=_hyperbola,
    relative_batch_size=Partial(_beyond_one, (_inverse_hyperbola,)),
    critical_ratio=1.0,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BatchLaw:
    """S(b) = S_min · form(b/scale).

    Scalars, or arrays of many laws, with which the batch sizes and steps handed in must broadcast.

    >>> law = BatchLaw(HYPERBOLA, 1_000.0, 64.0)
    >>> float(law.steps(64)), float(law.samples(64)), float(law.batch_size(1_250))
    (2000.0, 128000.0, 256.0)

    Attributes:
      form: INVERSE_ROOT, INVERSE or HYPERBOLA.
      min_steps: S_min, which an infinite batch takes.
      scale: in examples.
    """

    form: BatchForm = field(metadata={"static": True})
    min_steps: ArrayLike
    scale: ArrayLike

    def steps(self, batch_size: ArrayLike) -> ArrayLike:
        """S(b), real-valued; infinite where no number of steps reaches the target."""
        return self.min_steps * self.form.relative_steps(batch_size / self.scale)

    def samples(self, batch_size: ArrayLike) -> ArrayLike:
        """b S(b)."""
        return batch_size * self.steps(batch_size)

    def batch_size(self, steps: ArrayLike) -> ArrayLike:
        """The batch size that takes so many steps; infinite for S_min and fewer."""
        return self.scale * self.form.relative_batch_size(steps / self.min_steps)

    @property
    def critical_batch(self) -> ArrayLike:
        """b*."""
        return self.form.critical_ratio * self.scale

    @property
    def critical_samples(self) -> ArrayLike:
        """b* S(b*): the fewest samples, and twice the fewest under the HYPERBOLA."""
        return self.samples(self.critical_batch)


def bound_law(form: BatchForm, x: ArrayLike, y: ArrayLike, gap: ArrayLike) -> BatchLaw:
    """The law of the steps T after which a bound on the mean gradient norm has come down to ε.

    From (1/T) Σ ‖∇f‖ ≤ X/T + Y/b^p + Z, with p = 1/2 of INVERSE_ROOT and p = 1 of INVERSE:
    T(b) = X / (gap - Y/b^p) with gap = ε - Z, so S_min = X/gap and scale = (Y/gap)^(1/p). For p = 1/2 the
    critical batch is 9Y²/(4 gap²) and takes 27XY²/(4 gap³) samples; for p = 1 it is 2Y/gap and 4XY/gap².
    Source: arXiv:2507.01598.

    >>> law = bound_law(INVERSE_ROOT, 3.0, 0.7, 0.2)
    >>> round(float(law.critical_batch), 4), round(float(law.critical_samples), 4)
    (27.5625, 1240.3125)
    >>> law = bound_law(INVERSE, 3.0, 0.7, 0.2)
    >>> round(float(law.critical_batch), 4), round(float(law.critical_samples), 4)
    (7.0, 210.0)

    Args:
      form: INVERSE_ROOT or INVERSE.
      x: X, what the start contributes.
      y: Y, what the gradient noise contributes; momentum changes it, see `momentum_noise_factor`.
      gap: ε - Z, what the target leaves above the part Z of the bound that neither steps nor examples lower.

    Raises:
      ValueError: the form solves no bound, or a constant is not positive; traced values are not looked at.
    """
    if form.noise_power is None:
        raise ValueError(f"form: only inverse_root and inverse solve a bound, got {form.name}")
    for name, value in (("x", x), ("y", y), ("gap", gap)):
        if not isinstance(value, jax.core.Tracer) and not np.all(np.asarray(value) > 0):
            raise ValueError(f"{name} must be positive, got {value}")
    return BatchLaw(form, x / gap, (y / gap) ** (1 / form.noise_power))


def momentum_noise_factor(momentum: ArrayLike, *, nesterov: bool = False) -> ArrayLike:
    """V: the variance of a moving average of independent noise, over that of the noise itself.

    Of m ← βm + (1 - β)g it is (1 - β)/(1 + β) in the long run; of Nesterov's βm + (1 - β)g, taken after that
    update, (1 - β²)² + β⁴ (1 - β)/(1 + β). In `bound_law` it multiplies INVERSE's Y, a variance, and √V
    that of INVERSE_ROOT, a deviation, so V multiplies the scale of either. V falls as β rises from V(0) = 1:
    more momentum, a smaller critical batch. Source: arXiv:2507.01598.

    >>> round(momentum_noise_factor(0.9), 4), round(momentum_noise_factor(0.9, nesterov=True), 4)
    (0.0526, 0.0706)

    Raises ValueError for a momentum outside [0, 1); a traced one is not looked at.
    """
    concrete = not isinstance(momentum, jax.core.Tracer)
    if concrete and not np.all((np.asarray(momentum) >= 0) & (np.asarray(momentum) < 1)):
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    average = (1 - momentum) / (1 + momentum)
    return (1 - momentum**2) ** 2 + momentum**4 * average if nesterov else average
