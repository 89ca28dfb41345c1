"""Which geometry suits a layer: criteria that compare spectral with sign and with Euclidean descent."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from geometry.decompositions import by_matrix
from geometry.matrices import MatrixView, ViewRule, leaves_by_path, plain_matrices, wide
from geometry.matrix_root import root_trace
from geometry.noise import NoiseScale
from geometry.polar_factor import PolarExpress
from geometry.precision import full_product, unit_peak, widened

_POLAR = PolarExpress(steps=10)


def spec_sign_index(
    spectral: NoiseScale,
    sign: NoiseScale,
    batch_size: ArrayLike,
    *,
    tau: ArrayLike = 1.0,
    log_smoothness_ratio: ArrayLike = 0.0,
) -> Float[Array, ""]:
    """The log ratio of what spectral and sign descent are sure to gain in a step; positive for spectral.

    One step with the best step size gains at least (signal - τ noise/√B)₊² / 2L, so
    log 𝓡 = 2 log (signal - τ noise/√B)₊ of spectral descent, less that of sign descent, + log(L_∞ / L_op).
    Spectral descent wins not where gradients are of low rank, but where its signal stands out of the noise
    more than that of sign descent does. Unchanged when the loss is rescaled. Source: "The Geometry of
    Spectral Gradient Descent" (ICLR 2026 workshop GRaM).

    Args:
      spectral: the noise scale under SPECTRAL.
      sign: the same leaf's under SIGN.
      batch_size: B, the examples that the descended gradient is a mean of.
      tau: 1 for a gain in expectation, 2 for one that holds for every gradient.
      log_smoothness_ratio: log(L_∞ / L_op), how much more the loss bends under the sign norm; it decides as
        much as the signals do. Where it is not known, `isotropic_log_smoothness` is a neutral guess.

    Returns:
      The index; infinite where one of the two is sure of nothing, and 0, undecided, where both are.
    """
    gains = [_sure_signal(scale, batch_size, tau) for scale in (spectral, sign)]
    return _difference(*(2 * jnp.log(gain) for gain in gains), log_smoothness_ratio)


def isotropic_log_smoothness(view: MatrixView, shape: tuple[int, ...]) -> float:
    """log(L_∞ / L_op) of a leaf whose loss bends alike in all directions: its entries over its short sides.

    The largest ⟨D, D⟩ is the number of entries under the sign norm, and the number of singular values, of all
    matrices together, under the spectral one.

    >>> from geometry import PLAIN
    >>> round(math.exp(isotropic_log_smoothness(PLAIN, (100, 400))))
    400
    """
    stacks = view.matrix_shapes(shape)
    return math.log(math.prod(shape) / sum(count * min(rows, columns) for count, rows, columns in stacks))


def curvature_index(
    gradients: PyTree, product: Callable[[PyTree], PyTree], view: ViewRule = plain_matrices
) -> dict[str, Float[Array, ""]]:
    """The log ratio of what spectral and sign steps on one leaf gain, with the curvature measured.

    𝓡̂ = [⟨G, D_spec⟩² / ⟨D_spec, H D_spec⟩] / [⟨G, D_sign⟩² / ⟨D_sign, H D_sign⟩]: on a quadratic, each is
    twice the loss drop at its best step size, exactly. It takes two Hessian products a leaf.

    Args:
      gradients: the gradient, averaged over some dozen batches, since noise passes for gain here.
      product: v → H v over trees like `gradients`, such as `geometry.hessian_product`.
      view: which leaves are matrices, and how.

    Returns:
      log 𝓡̂ of every matrix leaf by path; 0, undecided, where a curvature is not positive.
    """
    gradients = jax.tree.map(widened, gradients)
    structure = jax.tree.structure(gradients)
    leaves = leaves_by_path(gradients)
    views = {path: view(path, leaf.shape) for path, leaf in leaves.items()}
    matrices = [path for path, found in views.items() if found is not None]

    def polar_of(path):
        factors = [_POLAR.factor(stack) for stack in views[path].split(leaves[path])]
        return views[path].join(factors, leaves[path].shape)

    def gain(directions, chosen):
        masked = {path: jnp.zeros_like(leaf) for path, leaf in leaves.items()}
        for place, path in enumerate(matrices):
            masked[path] = directions[path] * (place == chosen)
        direction = structure.unflatten(list(masked.values()))
        curvature = _inner(direction, product(direction))
        slope = _inner(direction, gradients)
        return 2 * jnp.log(jnp.abs(slope)) - jnp.log(curvature)  # the square itself may over- or underflow

    spectral = {path: polar_of(path) for path in matrices}
    sign = {path: jnp.sign(leaves[path]) for path in matrices}
    every = jnp.arange(len(matrices))  # mapped over, so that one product is compiled for all leaves
    gains = [jax.lax.map(functools.partial(gain, directions), every) for directions in (spectral, sign)]
    known = (gains[0] < jnp.inf) & (gains[1] < jnp.inf)  # no NaN is
    index = jnp.where(known, _difference(*gains), 0)
    return dict(zip(matrices, index, strict=True))


def nuclear_rank(x: Float[Array, "*batch rows columns"]) -> Float[Array, "*batch"]:
    """‖X‖_*² / ‖X‖_F² of every matrix: in [1, rank], and 0 for zero; to a relative 1e-3.

    >>> [round(float(nuclear_rank(x)), 2) for x in (jnp.eye(3), jnp.ones((3, 3)), jnp.zeros((3, 3)))]
    [3.0, 1.0, 0.0]
    """
    scaled, _ = unit_peak(widened(x), axis=(-2, -1))
    stack = wide(scaled.reshape(math.prod(x.shape[:-2]), *scaled.shape[-2:]))
    gram = full_product(stack, stack.mT)
    squares = jnp.sum(stack**2, axis=(-2, -1))
    rank = root_trace(gram) ** 2 / jnp.where(squares > 0, squares, 1)
    return rank.reshape(x.shape[:-2])


def stable_rank(x: Float[Array, "*batch rows columns"]) -> Float[Array, "*batch"]:
    """‖X‖_F² / ‖X‖_op² of every matrix: in [1, rank], and 0 for zero.

    Where the nuclear rank of a layer's gradient is at least the stable rank of its incoming activations, a
    spectral step is to gain more than a Euclidean one (arXiv:2512.04299).
    """
    scaled, _ = unit_peak(widened(x), axis=(-2, -1))
    stack = wide(scaled.reshape(math.prod(x.shape[:-2]), *scaled.shape[-2:]))
    eigenvalues = by_matrix(jnp.linalg.eigvalsh, full_product(stack, stack.mT))
    largest = eigenvalues[:, -1]
    return (jnp.sum(stack**2, axis=(-2, -1)) / jnp.where(largest > 0, largest, 1)).reshape(x.shape[:-2])


def parameter_norm_bounds(
    initial: ArrayLike, learning_rates: Float[Array, "steps"], weight_decay: ArrayLike
) -> Float[Array, "steps"]:
    """A bound on ‖W‖ after each step W ← (1 - ηλ)W - ηO with ‖O‖ ≤ 1: b ← (1 - ηλ)b + η from ‖W₀‖.

    With a constant η it is (1 - ηλ)ᵗ‖W₀‖ + (1 - (1 - ηλ)ᵗ)/λ, and tends to 1/λ: decay alone keeps Muon's
    spectral norms bounded. Where updates carry a shape scale s, hand in sη and λ/s. Source: arXiv:2507.01598.

    >>> parameter_norm_bounds(0.0, jnp.full(50, 0.1), 0.5)[-1].round(5)
    Array(1.84611, dtype=float32)

    Raises:
      ValueError: ηλ is above 1 at some step, where the bound does not hold; traced values are not looked at.
    """
    shrinking = jnp.asarray(learning_rates) * weight_decay
    if not isinstance(shrinking, jax.core.Tracer) and jnp.any(shrinking > 1):
        raise ValueError(f"learning_rates: ηλ must be at most 1 at every step, got {jnp.max(shrinking)}")

    def step(bound, rates):
        learning_rate, shrink = rates
        bound = (1 - shrink) * bound + learning_rate
        return bound, bound

    start = jnp.asarray(initial, shrinking.dtype)
    return jax.lax.scan(step, start, (learning_rates, shrinking))[1]


def _sure_signal(scale: NoiseScale, batch_size: ArrayLike, tau: ArrayLike) -> Array:
    return jnp.maximum(scale.signal - tau * scale.noise / jnp.sqrt(batch_size), 0)


def _difference(minuend: Array, subtrahend: Array, shift: ArrayLike = 0.0) -> Array:
    """minuend - subtrahend + shift of logarithms, and 0 where both are those of zero."""
    undecided = (minuend == -jnp.inf) & (subtrahend == -jnp.inf)
    return jnp.where(undecided, 0, minuend - subtrahend + shift)


def _inner(a: PyTree, b: PyTree) -> Array:
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
