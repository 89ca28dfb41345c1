"""Gradient noise scales: how large the noise of one example's gradient is beside the signal.

With the per-sample covariance C, the coordinates' deviations σ and C_row = E[N Nᵀ], N the per-sample noise of
a matrix, transposed where it has more rows than columns:

- Euclidean  tr C / ‖∇L‖₂²
- sign       ‖σ‖₁² / ‖∇L‖₁²
- spectral   (tr C_row^½)² / ‖∇L‖_*², where leaves that are no matrices count by their sign terms

With noise the root of the numerator, a batch of B examples has E‖g - ∇L‖_dual ≤ noise / √B. Source:
arXiv:2602.03001. (Its published code scales the nuclear noise by the local batch twice; this does not.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from geometry.matrices import MatrixView, in_equal_batches, wide
from geometry.matrix_root import root_trace
from geometry.norms import EUCLIDEAN, SIGN, SPECTRAL, Geometry
from geometry.precision import binary_unit, full_product

NOISE_GEOMETRIES = (EUCLIDEAN, SIGN, SPECTRAL)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoiseScale:
    """The noise of one example's gradient and the signal, of one leaf or of a whole tree.

    Scalars, or arrays where it comes out of a `vmap`.

    Attributes:
      noise: the root of the numerator, such as ‖σ‖₁.
      signal: the dual norm of the mean gradient.
      geometry: whose norm that is.
      by_sign: the leaves that are no matrices and counted by their sign terms; under SPECTRAL alone.
    """

    noise: Float[Array, "*mapped"]
    signal: Float[Array, "*mapped"]
    geometry: Geometry = field(metadata={"static": True})
    by_sign: tuple[str, ...] = field(default=(), metadata={"static": True})

    @property
    def value(self) -> Float[Array, "*mapped"]:
        """noise² / signal², in examples: 0 without noise, infinite where there is noise and no signal."""
        return _squared_ratio(self.noise, self.signal)

    def relative_gain(self, batch_size: ArrayLike) -> Float[Array, "*mapped"]:
        """What the best step on a batch of B gains, as a fraction of what it gains on an infinite batch.

        EUCLIDEAN: 1 / (1 + 𝓑/B). SIGN and SPECTRAL: (1 - √(𝓑/B))₊², nothing for B ≤ 𝓑, and the most for each
        example at B = 4𝓑.
        """
        ratio = self.value / batch_size
        if self.geometry == EUCLIDEAN:
            return 1 / (1 + ratio)
        return jnp.maximum(1 - jnp.sqrt(ratio), 0) ** 2

    def batch_size_for(self, gain_fraction: ArrayLike) -> Float[Array, "*mapped"]:
        """The batch size whose `relative_gain` is that fraction κ in [0, 1).

        EUCLIDEAN: κ/(1 - κ) 𝓑. SIGN and SPECTRAL: 𝓑 / (1 - √κ)².
        """
        if self.geometry == EUCLIDEAN:
            return gain_fraction / (1 - gain_fraction) * self.value
        return self.value / (1 - jnp.sqrt(gain_fraction)) ** 2

    def corrected(self, batch_size: ArrayLike, parts: ArrayLike) -> "NoiseScale":
        """Without the small-sample bias that is known in closed form.

        EUCLIDEAN: the squared signal less the noise in it, max(‖g‖² - tr Ĉ / B, 0). SIGN: ‖σ̂‖₁ over
        `c4(parts)`, exact for Gaussian noise.

        Raises ValueError for SPECTRAL, whose bias depends on the spectrum of the noise.
        """
        if self.geometry == EUCLIDEAN:
            return replace(self, signal=self.signal * jnp.sqrt(jnp.maximum(1 - self.value / batch_size, 0)))
        if self.geometry == SIGN:
            return replace(self, noise=self.noise / c4(parts))
        raise ValueError("corrected: the bias of the spectral noise has no closed form")


class NoiseAverage(NamedTuple):
    """Running averages of noise² and signal², whose ratio is steadier than an average of ratios.

    N ← βN + (1 - β) noise², M ← βM + (1 - β) signal², each divided by the sum of its weights. Their roots are
    kept, which stay in the range of the numbers measured. `init`, then `add` every measurement; `value` is
    NaN before the first.

    Attributes:
      noise: √N.
      signal: √M.
      noise_weight: the sum of the weights in N.
      signal_weight: that in M.
    """

    noise: Float[Array, ""]
    signal: Float[Array, ""]
    noise_weight: Float[Array, ""]
    signal_weight: Float[Array, ""]

    @classmethod
    def init(cls) -> "NoiseAverage":
        return cls(*jnp.zeros((4,)))

    def add(
        self, scale: NoiseScale, noise_decay: ArrayLike = 0.9, signal_decay: ArrayLike = 0.9
    ) -> "NoiseAverage":
        """With one more measurement; the decays β are fractions in [0, 1)."""

        def blend(average, new, decay):
            return jnp.hypot(jnp.sqrt(decay) * average, jnp.sqrt(1 - decay) * new)

        return NoiseAverage(
            blend(self.noise, scale.noise, noise_decay),
            blend(self.signal, scale.signal, signal_decay),
            noise_decay * self.noise_weight + (1 - noise_decay),
            signal_decay * self.signal_weight + (1 - signal_decay),
        )

    @property
    def value(self) -> Float[Array, ""]:
        """The noise scale, in examples."""
        return _squared_ratio(self.noise, self.signal) * (self.signal_weight / self.noise_weight)


class Spread(NamedTuple):
    """What part gradients tell of a leaf: its mean gradient and the spread of one example's around it.

    Attributes:
      mean: the mean gradient.
      unit: u, of the squares that follow.
      variance: σ̂² / u² of every entry.
      view: how it is seen as matrices, and
      covariances: Ĉ_row / u² of every stack of them; empty where it is no matrix.
    """

    mean: Float[Array, "*shape"]
    unit: Float[Array, ""]
    variance: Float[Array, "*shape"]
    view: MatrixView | None = None
    covariances: Sequence[Float[Array, "matrices short short"]] = ()


def grams_of_leaf(
    leaf: Float[Array, "*shape"], view: MatrixView
) -> list[Float[Array, "matrices short short"]]:
    """G Gᵀ of every stack of the leaf's matrices, on the shorter side."""
    return [full_product(stack, stack.mT) for stack in map(wide, view.split(leaf))]


def leaf_scales(leaves: Mapping[str, Spread], geometry: Geometry) -> dict[str, NoiseScale]:
    """The noise and signal of every leaf by its path.

    Raises ValueError for a geometry without a noise scale.
    """
    if geometry == EUCLIDEAN:
        return {path: _euclidean(leaf) for path, leaf in leaves.items()}
    if geometry == SIGN:
        return {path: _sign(leaf, SIGN) for path, leaf in leaves.items()}
    if geometry == SPECTRAL:
        return _spectral(leaves)
    known = ", ".join(geometry.name for geometry in NOISE_GEOMETRIES)
    raise ValueError(f"geometry: only {known} have a noise scale, got {geometry.name}")


def total_scale(leaves: Mapping[str, NoiseScale]) -> NoiseScale:
    """The scale of all leaves together: noises and signals are added up, then squared and divided.

    Those of EUCLIDEAN leaves are added as squares, so that the total is that of the whole vector.
    """
    (geometry,) = {leaf.geometry for leaf in leaves.values()}
    noise = jnp.stack([leaf.noise for leaf in leaves.values()])
    signal = jnp.stack([leaf.signal for leaf in leaves.values()])
    add = EUCLIDEAN.norm if geometry == EUCLIDEAN else jnp.sum
    by_sign = tuple(path for leaf in leaves.values() for path in leaf.by_sign)
    return NoiseScale(add(noise), add(signal), geometry, by_sign)


def c4(parts: ArrayLike) -> Float[Array, "*mapped"]:
    """√(2/(R-1)) Γ(R/2) / Γ((R-1)/2): the expected sample deviation of R Gaussian numbers, over the true one.

    >>> round(float(c4(2)), 4), round(float(c4(8)), 4)
    (0.7979, 0.965)
    """
    r = jnp.asarray(parts, jnp.result_type(float))
    exact = jnp.sqrt(2 / (r - 1)) * jnp.exp(gammaln(r / 2) - gammaln((r - 1) / 2))
    series = 1 - 1 / (4 * r) - 7 / (32 * r**2) - 19 / (128 * r**3)
    # with R the difference of logarithms loses digits, and the series gains them
    return jnp.where(r < jnp.finfo(r.dtype).eps ** -0.2, exact, series)


def _squared_ratio(noise: Array, signal: Array) -> Array:
    silent = noise == 0
    return jnp.where(silent, 0, (noise / jnp.where(silent, 1, signal)) ** 2)


def _euclidean(leaf: Spread) -> NoiseScale:
    noise = leaf.unit * jnp.sqrt(jnp.sum(leaf.variance))
    return NoiseScale(noise, EUCLIDEAN.dual(leaf.mean), EUCLIDEAN)


def _sign(leaf: Spread, geometry: Geometry, by_sign: tuple[str, ...] = ()) -> NoiseScale:
    noise = leaf.unit * jnp.sum(jnp.sqrt(leaf.variance))
    return NoiseScale(noise, SIGN.dual(leaf.mean), geometry, by_sign)


def _spectral(leaves: Mapping[str, Spread]) -> dict[str, NoiseScale]:
    matrices = {path: leaf for path, leaf in leaves.items() if leaf.covariances}
    scales = {path: _sign(leaf, SPECTRAL, (path,)) for path, leaf in leaves.items() if path not in matrices}
    if matrices:
        units = {path: binary_unit(leaf.mean) for path, leaf in matrices.items()}
        scaled = {path: leaf.mean / units[path] for path, leaf in matrices.items()}
        grams = [gram for path, leaf in matrices.items() for gram in grams_of_leaf(scaled[path], leaf.view)]
        covariances = [covariance for leaf in matrices.values() for covariance in leaf.covariances]
        signals, noises = (map(jnp.sum, roots) for roots in in_equal_batches(_roots, grams, covariances))
        for path, leaf in matrices.items():
            blocks = [(next(noises), next(signals)) for _ in leaf.covariances]
            noise, signal = (sum(column[1:], column[0]) for column in zip(*blocks, strict=True))
            scales[path] = NoiseScale(leaf.unit * noise, units[path] * signal, SPECTRAL)
    return {path: scales[path] for path in leaves}


def _roots(grams: Array, covariances: Array) -> tuple[Array, Array]:
    return tuple(jnp.split(root_trace(jnp.concatenate([grams, covariances])), 2))
