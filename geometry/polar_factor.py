"""The polar factor of a matrix: what is left of U Σ Vᵀ when every singular value becomes 1.

It is the steepest-descent direction under the spectral norm. Three methods compute it:

- `SVD`: exact, slow, and slower still on accelerators;
- `NewtonSchulz`: the odd polynomial X ← aX + (bA + cA²)X with A = XXᵀ, the same coefficients each step
  ("standard", K. Jordan, 2024) or a list of them;
- `PolarExpress`: the same iteration with the coefficients that are optimal step by step
  (N. Amsel et al., arXiv:2505.16932).

Both take their steps on the short square Gram matrix A where that is faster and as exact (Gram Newton–Schulz;
J. Zhang, N. Amsel, B. Chen and T. Dao, 2026), and start from a fresh one before rounding errors explode.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from geometry.decompositions import thin_svd
from geometry.matrices import over_stack
from geometry.precision import unit_peak, widened

Coefficients = tuple[float, float, float]
AxisName = str | tuple[str, ...]

PRESETS: Mapping[str, tuple[Coefficients, ...]] = MappingProxyType(
    {
        # the steepest slope at zero: fast, but singular values end anywhere in about [0.68, 1.13]
        "standard": ((3.4445, -4.7750, 2.0315),),
        # the Taylor coefficients at 1: converges to 1 with order three, from slope 1.875 at zero
        "convergent": ((1.875, -1.25, 0.375),),
    }
)

# before the safety scaling; the last one for ever
_POLAR_EXPRESS: tuple[Coefficients, ...] = (
    (8.287212, -23.595887, 17.300387),
    (4.107059, -2.947850, 0.544843),
    (3.948691, -2.908902, 0.551819),
    (3.318420, -2.488488, 0.510049),
    (2.300652, -1.668904, 0.418807),
    (1.891301, -1.267996, 0.376804),
    (1.875001, -1.250002, 0.375000),
    (1.875, -1.25, 0.375),
)
_SAFETY = 1.01  # keeps rounding errors above 1 from being thrown far out by the next polynomial

_GRAM_ASPECT = 1.5  # from this ratio of the long side to the short one, the Gram side costs fewer flops
_GRAM_STEPS = 5  # at condition number 1e4, a few more on one Gram matrix explode in float32


@runtime_checkable
class PolarMethod(Protocol):
    """How to compute a polar factor; see `polar`."""

    def factor(self, x: Float[Array, "*batch rows columns"]) -> Float[Array, "*batch rows columns"]: ...


@runtime_checkable
class GramMethod(PolarMethod, Protocol):
    """One that also computes the factors of wide matrices whose long side is sharded over devices.

    Attributes:
      gram_sums: how many Gram matrices the devices sum up for one factor; 0 where it iterates in a dtype that
        is too narrow for Gram matrices, and computes none of shards.
    """

    @property
    def gram_sums(self) -> int: ...

    def factor_of_shards(
        self, x: Float[Array, "*batch short part"], axis_name: AxisName
    ) -> Float[Array, "*batch short part"]:
        """The same columns of the factor, inside `shard_map` over the axes by which columns are sharded."""
        ...


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")


@dataclass(frozen=True)
class SVD:
    """U Vᵀ by singular value decomposition; singular values below rounding error count as zero.

    On a CPU it is LAPACK's, whose threads fight over small matrices: on two cores a 64×128 took 188 ms, and
    1.1 ms with one thread, by OPENBLAS_NUM_THREADS=1 or `threadpoolctl.threadpool_limits(1, "blas")`. The
    iterations are of XLA's own products, 0.14 ms either way.
    """

    def factor(self, x: Float[Array, "*batch rows columns"]) -> Float[Array, "*batch rows columns"]:
        return leading_polar_factor(x, min(x.shape[-2:]))


class _Iteration:
    """The odd polynomials of both iterations, on whole matrices and on shards."""

    steps: int
    dtype: DTypeLike | None
    _tighten: ClassVar[bool]
    _triples: list[Coefficients]

    def factor(self, x: Float[Array, "*batch rows columns"]) -> Float[Array, "*batch rows columns"]:
        return _iterated(x, self._triples, self.dtype, tighten=self._tighten)

    @property
    def gram_sums(self) -> int:
        return -(-self.steps // _GRAM_STEPS) if _wide_enough(self.dtype or jnp.float32) else 0

    def factor_of_shards(
        self, x: Float[Array, "*batch short part"], axis_name: AxisName
    ) -> Float[Array, "*batch short part"]:
        part = _unit_norm_of_shards(_precise(x, self.dtype), self.dtype, axis_name)
        factor = _on_gram_side(
            part, self._triples, self._tighten, lambda y: jax.lax.psum(y @ y.mT, axis_name)
        )
        return factor.astype(x.dtype)


@dataclass(frozen=True)
class NewtonSchulz(_Iteration):
    """X ← aX + (bA + cA²)X with A = XXᵀ, after Frobenius normalisation.

    Attributes:
      steps: how many iterations.
      coefficients: a preset's name, or triples (a, b, c), one a step, the last for all further ones.
      dtype: what to iterate in; float32, or the input's own dtype where wider, when None. bfloat16 is
        faster on accelerators and good to about 3e-2.
    """

    steps: int = 5
    coefficients: str | tuple[Coefficients, ...] = "standard"
    dtype: DTypeLike | None = None

    _tighten: ClassVar[bool] = False

    def __post_init__(self):
        _check_steps(self.steps)
        if isinstance(self.coefficients, str):
            if self.coefficients not in PRESETS:
                raise ValueError(f"coefficients must be one of {list(PRESETS)}, got {self.coefficients!r}")
        elif not self.coefficients or any(np.shape(triple) != (3,) for triple in self.coefficients):
            raise ValueError(f"coefficients must be triples (a, b, c), got {self.coefficients!r}")

    @property
    def _triples(self) -> list[Coefficients]:
        named = isinstance(self.coefficients, str)
        triples = PRESETS[self.coefficients] if named else self.coefficients
        return list(itertools.islice(_lasting(triples), self.steps))


@dataclass(frozen=True)
class PolarExpress(_Iteration):
    """Newton–Schulz with the optimal coefficients of each step, scaled down by 1 % for safety.

    Starts from X over (Σσ⁸)^⅛, a bound on σ₁ read off the first step's own products; the paper starts from
    the Frobenius norm. Singular values of a log-spaced spectrum end within [0.97, 1.03] after 10 steps at
    condition number 1e3 and after 12 at 1e4, in float32.

    Attributes:
      steps: how many iterations.
      dtype: what to iterate in, as in `NewtonSchulz`.
    """

    steps: int = 5
    dtype: DTypeLike | None = None

    _tighten: ClassVar[bool] = True

    def __post_init__(self):
        _check_steps(self.steps)

    @property
    def _triples(self) -> list[Coefficients]:
        return polar_express_coefficients(self.steps)


def polar_express_coefficients(steps: int) -> list[Coefficients]:
    """(a, b, c) of each step, with the safety scaling."""
    safe = [(a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in _POLAR_EXPRESS[:-1]]
    return list(itertools.islice(_lasting([*safe, _POLAR_EXPRESS[-1]]), steps))


METHODS: Mapping[str, PolarMethod] = MappingProxyType(
    {"svd": SVD(), "newton_schulz": NewtonSchulz(), "polar_express": PolarExpress()}
)


def polar_method(method: str | PolarMethod) -> PolarMethod:
    """The method of that name, with its defaults, or the method itself.

    Raises ValueError for an unknown name, and for what is no method.
    """
    if isinstance(method, PolarMethod):
        return method
    if method not in METHODS:
        raise ValueError(f"the polar method must be one of {list(METHODS)}, got {method!r}")
    return METHODS[method]


def polar(
    x: Float[Array, "*batch rows columns"], method: str | PolarMethod = "polar_express"
) -> Float[Array, "*batch rows columns"]:
    """The polar factor U Vᵀ of every matrix U Σ Vᵀ in `x`; zero for zero.

    Invariant to the scale of `x`, equivariant to transposition and to orthogonal factors on either side.

    >>> polar(jnp.array([[0.0, -3.0], [0.5, 0.0]]), "svd").round(4)
    Array([[ 0., -1.],
           [ 1.,  0.]], dtype=float32)
    >>> polar(1e-30 * jnp.eye(2), PolarExpress(steps=12)).round(4)
    Array([[1., 0.],
           [0., 1.]], dtype=float32)

    Args:
      x: matrices in the last two axes, any real floating dtype, which the result keeps.
      method: "svd", "newton_schulz" or "polar_express", or one of these with its own options, such as
        `PolarExpress(steps=8)`.

    Raises:
      TypeError: `x` is not of a real floating dtype.
      ValueError: `x` has fewer than two axes, or there is no such method.
    """
    if x.ndim < 2:
        raise ValueError(f"x must be a matrix or a stack of them, got shape {x.shape}")
    return polar_method(method).factor(x)


def leading_polar_factor(
    x: Float[Array, "*batch rows columns"], rank: int
) -> Float[Array, "*batch rows columns"]:
    """U_r V_rᵀ of every matrix, by SVD: the singular vectors of its `rank` largest singular values.

    Singular values below rounding error count as zero and contribute nothing.
    """
    scaled, _ = unit_peak(widened(x), axis=(-2, -1))
    u, s, vt = thin_svd(scaled)
    rounding = max(x.shape[-2:]) * jnp.finfo(s.dtype).eps * s[..., :1]
    kept = (s > rounding)[..., None, :rank]
    return ((u[..., :rank] * kept) @ vt[..., :rank, :]).astype(x.dtype)


def _iterated(x: Array, triples: Sequence[Coefficients], dtype: DTypeLike | None, *, tighten: bool) -> Array:
    """The iteration from X over its Frobenius norm; `tighten` divides by a closer bound on σ₁ as well."""
    rows, columns = x.shape[-2:]
    precise = _precise(x if rows <= columns else x.mT, dtype)
    # rounding errors of a narrow float survive only on X itself
    on_gram_side = max(x.shape[-2:]) >= _GRAM_ASPECT * min(x.shape[-2:])
    iterate = _on_gram_side if on_gram_side and _wide_enough(dtype or precise.dtype) else _directly
    stack = precise.reshape(math.prod(x.shape[:-2]), *precise.shape[-2:])
    # normalised one by one as well: around a stack of one, XLA shapes the norm's sum in some programs
    # otherwise than in others, to other last bits
    factor = over_stack(lambda matrix: iterate(_unit_norm(matrix, dtype), triples, tighten), stack)
    factor = factor.reshape(precise.shape).astype(x.dtype)
    return factor if rows <= columns else factor.mT


def _precise(x: Array, dtype: DTypeLike | None) -> Array:
    """X in a dtype in which its norm neither overflows nor rounds more than the iteration does."""
    precise = widened(x)
    return precise if dtype is None else precise.astype(jnp.promote_types(precise.dtype, dtype))


def _unit_norm(x: Array, dtype: DTypeLike | None) -> Array:
    """X over its Frobenius norm, zero for zero, in that dtype when given."""
    scaled, _ = unit_peak(x, axis=(-2, -1))
    norm = jnp.linalg.norm(scaled, axis=(-2, -1), keepdims=True)
    return (scaled / jnp.where(norm > 0, norm, 1)).astype(dtype or scaled.dtype)


def _unit_norm_of_shards(x: Array, dtype: DTypeLike | None, axis_name: AxisName) -> Array:
    """The shard over the norm of the whole, of which the shards' norms are all that is sent."""
    scaled, peak = unit_peak(x, axis=(-2, -1))
    norms, largest = unit_peak(
        jax.lax.all_gather(peak * jnp.linalg.norm(scaled, axis=(-2, -1), keepdims=True), axis_name), axis=0
    )
    norm = largest[0] * jnp.linalg.norm(norms, axis=0)
    return (scaled * (peak / jnp.where(norm > 0, norm, 1))).astype(dtype or x.dtype)


def _directly(x: Array, triples: Sequence[Coefficients], tighten: bool) -> Array:
    for step, (a, b, c) in enumerate(triples):
        gram = _gram(x)
        square = gram @ gram
        if step == 0 and tighten:
            x, gram, square = _tightened(x, gram, square)
        x = a * x + (b * gram + c * square) @ x
    return x


def _gram(x: Array) -> Array:
    return x @ x.mT


def _on_gram_side(
    x: Array, triples: Sequence[Coefficients], tighten: bool, gram_of: Callable[[Array], Array] = _gram
) -> Array:
    """The same iteration where X ← PX becomes A ← PAP and Q ← PQ on short square matrices, then X ← QX.

    `gram_of` gives XXᵀ: of shards, it sums their own.
    """
    rows = x.shape[-2]
    identity = jnp.broadcast_to(jnp.eye(rows, dtype=x.dtype), (*x.shape[:-2], rows, rows))
    for step, (a, b, c) in enumerate(triples):
        fresh = step % _GRAM_STEPS == 0
        gram = gram_of(x) if fresh else polynomial @ gram @ polynomial
        square = gram @ gram
        if step == 0 and tighten:
            x, gram, square = _tightened(x, gram, square)
        polynomial = a * identity + b * gram + c * square
        product = polynomial if fresh else polynomial @ product
        if (step + 1) % _GRAM_STEPS == 0 or step + 1 == len(triples):
            x = product @ x
    return x


def _tightened(x: Array, gram: Array, square: Array) -> tuple[Array, Array, Array]:
    """X, A and A² for X over ‖A²‖_F^¼ = (Σσ⁸)^⅛, which is at least σ₁ and at most m^⅛ times it.

    The Frobenius norm can be √m times σ₁, which costs the iteration whole steps to make up for.
    """
    bound = jnp.linalg.norm(widened(square), axis=(-2, -1), keepdims=True) ** 0.25
    bound = jnp.where(bound > 0, bound, 1).astype(x.dtype)
    return x / bound, gram / bound**2, square / bound**4


def _wide_enough(dtype: DTypeLike) -> bool:
    return bool(jnp.finfo(dtype).eps <= jnp.finfo(jnp.float32).eps)


def _lasting(triples: Sequence[Coefficients]) -> Iterator[Coefficients]:
    return itertools.chain(triples, itertools.repeat(triples[-1]))
