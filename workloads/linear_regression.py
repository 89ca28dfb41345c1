"""Linear regression with a given spectrum: as a workload, and its expected loss in closed recursions.

Residual z in R^D, z₀ ~ N(0, I); kernel K = Q Λ Qᵀ with Q random orthogonal. A step with learning rate η
and a random batch b of B of the D examples is z ← z - η (D/B) K[:, b] z[b]; the loss is ½ mean(z²).
Source: Naganuma et al. (2026), arXiv:2603.10301.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from workloads.workload import Workload, subset_indices

LARGEST_DIMENSION = 46_340  # whose square is an int32
LARGEST_EXPONENT = 6.0  # at which the least eigenvalue of the largest dimension is a float32


def power_law_spectrum(dimension: int, exponent: float = 1.0) -> Float[Array, "dim"]:
    """λ_k ∝ 1/k^a for k = 1 … D, normalised to sum 1."""
    spectrum = jnp.arange(1, dimension + 1, dtype=jnp.result_type(float)) ** -exponent
    return spectrum / jnp.sum(spectrum)


def random_kernel(key: PRNGKeyArray, spectrum: Float[Array, "dim"]) -> Float[Array, "dim dim"]:
    """K = Q Λ Qᵀ with Q uniform over the orthogonal matrices."""
    root = _kernel_root(key, spectrum)
    return root @ root.T


def linear_regression(*, dimension: int = 64, exponent: float = 1.0, kernel_seed: int = 0) -> Workload:
    """The workload: parameters w with z = A w, A = Q Λ^{1/2}, and w₀ = Λ^{-1/2} ξ, ξ ~ N(0, I).

    Plain SGD on its batch loss (D/2) mean((A w)_b²) is the update of the residual above. Every step draws a
    fresh subset of the examples: epochs, being without replacement, converge measurably faster. Metric:
    "train_loss".

    Args:
      dimension: D, the number of parameters and of examples.
      exponent: a of the spectrum λ_k ∝ 1/k^a.
      kernel_seed: which Q.

    Raises:
      ValueError: `dimension` is not in [2, 46,340], `exponent` not in [0, 6], or `kernel_seed` not in
        [0, 2^32).
    """
    for name, value, low, high in (
        ("dimension", dimension, 2, LARGEST_DIMENSION),
        ("exponent", exponent, 0, LARGEST_EXPONENT),
        ("kernel_seed", kernel_seed, 0, 2**32 - 1),
    ):
        if not low <= value <= high:
            raise ValueError(f"linear_regression: {name} must be in [{low}, {high}], got {value}")
    spectrum = power_law_spectrum(dimension, exponent)
    scale = 1 / jnp.sqrt(spectrum)

    def loss(weights, rows, key):
        return dimension / 2 * jnp.mean((rows @ weights) ** 2)

    return Workload(
        data=_kernel_root(jax.random.key(kernel_seed), spectrum),
        init=lambda key: scale * jax.random.normal(key, (dimension,)),
        indices=lambda key, batch_size, num_steps: subset_indices(key, dimension, batch_size, num_steps),
        batch=lambda root, indices: root[indices],
        loss=loss,
        evaluate=lambda weights, root: {"train_loss": jnp.mean((root @ weights) ** 2) / 2},
    )


def expected_losses(
    learning_rates: Float[Array, "steps"], spectrum: Float[Array, "dim"], batch_size: ArrayLike
) -> Float[Array, "steps"]:
    """The mean-field expected loss after each step, averaged over z₀, batches and Q; O(D) a step.

    With p_i = E[z_i²]/λ_i in the eigenbasis, 1/λ_i at the start:
    p_i ← (1 - ηλ_i)² p_i + η² (1/B - 1/D) λ_i Σ_j λ_j p_j, and loss = ½ mean(λ p).

    Within about 1 % at moderate rates and FAR OFF AT AGGRESSIVE ONES, where the loss is heavy-tailed: trust
    it where it agrees with `exact_losses`. Differentiable in the learning rates.

    Raises:
      ValueError: `batch_size` is not in [1, D].
    """
    dimension = spectrum.shape[0]
    _check_batch_size(batch_size, dimension)
    dtype = jnp.result_type(learning_rates, spectrum)
    learning_rates, spectrum = learning_rates.astype(dtype), spectrum.astype(dtype)
    noise = 1 / batch_size - 1 / dimension

    def step(carry, learning_rate):
        p, total = carry
        p = (1 - learning_rate * spectrum) ** 2 * p + learning_rate**2 * noise * spectrum * total
        total = jnp.dot(spectrum, p, precision=jax.lax.Precision.HIGHEST)  # vectorises where a sum does not
        return (p, total), total / (2 * dimension)

    start = 1 / spectrum, jnp.asarray(dimension, dtype)
    return jax.lax.scan(step, start, learning_rates)[1]


def exact_losses(
    learning_rates: Float[Array, "steps"],
    kernel: Float[Array, "dim dim"],
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Float[Array, "steps"]:
    """The exact expected loss after each step for one kernel, averaged over z₀ and batches; O(D³) a step.

    For SGD with heavy-ball momentum as in `optax.sgd`, m ← βm + g, z ← z - ηm with g = (D/B) K[:, b] z[b].
    S = E[z zᵀ] starts at I, C = E[z mᵀ] and M = E[m mᵀ] at 0; with a = D(B-1)/(B(D-1)) and
    E = aS + (D/B - a) diag(diag S), so that E[g gᵀ] = K E K, a step is

    M ← β²M + β(CᵀK + KC) + K E K,  X = βC + SK,  S ← S - η(X + Xᵀ) + η²M,  C ← X - ηM,

    and loss = ½ tr S / D. Differentiable in the learning rates and the momentum.

    Not for a program that maps over kernels with `jax.vmap` on several CPU devices at once: jaxlib's batched
    eigen-decompositions can then wait for one another for ever. Decompose them first, and use `modal_losses`.

    Args:
      learning_rates: η of each step.
      kernel: K, symmetric.
      batch_size: B, a number in [1, D]; it may be traced.
      momentum: β in [0, 1); it may be traced.

    Raises:
      ValueError: `batch_size` or `momentum` is outside its interval, D is below 2, or the arrays are not
        float64 (`jax.enable_x64`): rounding errors grow exponentially with the steps at aggressive rates.
    """
    _check_float64("exact_losses", learning_rates=learning_rates, kernel=kernel)
    _check_batch_size(batch_size, kernel.shape[0])
    return modal_losses(learning_rates, *jnp.linalg.eigh(kernel), batch_size, momentum)


def modal_losses(
    learning_rates: Float[Array, "steps"],
    spectrum: Float[Array, "dim"],
    basis: Float[Array, "dim dim"],
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Float[Array, "steps"]:
    """`exact_losses` for the kernel K = Q Λ Qᵀ, from its eigenvalues and from Q, its eigenvectors in columns.

    In the eigenbasis everything but diag S goes entry by entry, and on the pairs i ≤ j alone: in S itself an
    asymmetry, even by rounding, would grow exponentially.

    Raises ValueError as `exact_losses` does.
    """
    _check_float64("modal_losses", learning_rates=learning_rates, spectrum=spectrum, basis=basis)
    dimension = spectrum.shape[0]
    _check_batch_size(batch_size, dimension)
    if not _is_traced(momentum) and not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    overlap = dimension * (batch_size - 1) / (batch_size * (dimension - 1))
    row, column = jnp.triu_indices(dimension)
    diagonal = jnp.where(row == column, 1.0, 0.0)
    left, right = spectrum[row], spectrum[column]
    to_diagonal = basis[:, row] * basis[:, column]
    pairs = to_diagonal * (2 - diagonal)[None, :]  # a pair off the diagonal stands for two entries

    def step(moments, learning_rate):
        z_z, z_m, m_z, m_m = moments  # E[z_i m_j] and E[m_i z_j] are not the same
        noise = (dimension / batch_size - overlap) * ((pairs @ z_z) @ to_diagonal)
        m_m = momentum**2 * m_m + momentum * (left * z_m + right * m_z)
        m_m += left * right * (overlap * z_z + noise)
        z_m, m_z = momentum * z_m + right * z_z, momentum * m_z + left * z_z
        z_z += learning_rate**2 * m_m - learning_rate * (z_m + m_z)
        moments = z_z, z_m - learning_rate * m_m, m_z - learning_rate * m_m, m_m
        return moments, diagonal @ z_z / (2 * dimension)

    rest = jnp.zeros_like(diagonal)
    return jax.lax.scan(step, (diagonal, rest, rest, rest), learning_rates)[1]


def _check_float64(function: str, **arrays: Array) -> None:
    for name, array in arrays.items():
        if jnp.asarray(array).dtype != jnp.float64:
            raise ValueError(f"{function}: {name} must be float64, got {jnp.asarray(array).dtype}")


def _is_traced(value: ArrayLike) -> bool:
    return isinstance(value, jax.core.Tracer)


def _check_batch_size(batch_size: ArrayLike, dimension: int) -> None:
    if dimension < 2 or not (_is_traced(batch_size) or 1 <= batch_size <= dimension):
        raise ValueError(
            f"batch_size must be in [1, D] with D at least 2, got batch_size={batch_size}, D={dimension}"
        )


def _kernel_root(key: PRNGKeyArray, spectrum: Float[Array, "dim"]) -> Float[Array, "dim dim"]:
    dimension = spectrum.shape[0]
    orthogonal = jax.random.orthogonal(key, dimension, dtype=spectrum.dtype)
    return orthogonal * jnp.sqrt(spectrum)[None, :]
