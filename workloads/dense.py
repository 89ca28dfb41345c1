"""The product of a dense layer, for Flax's hook `nn.Dense(dot_general=...)`, with a gradient fast on a CPU.

The kernel's gradient is a product of two matrices along their rows. XLA:CPU takes more than twice as long for
it as for one whose first factor lies transposed in memory, and to transpose the narrower one costs little.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def dense_product(
    inputs: Float[Array, "*rows fan_in"],
    kernel: Float[Array, "fan_in fan_out"],
    dimension_numbers: Any = None,
    **options: Any,
) -> Float[Array, "*rows fan_out"]:
    """inputs · kernel, the one product that `nn.Dense` asks for.

    Raises ValueError for a precision or an element type other than the usual.
    """
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"dense_product: {name} must be None, got {value}")
    rows = inputs.reshape(-1, inputs.shape[-1])
    product = jax.lax.platform_dependent(rows, kernel, cpu=_product, default=jnp.matmul)
    return product.reshape(*inputs.shape[:-1], kernel.shape[-1])


@jax.custom_jvp
def _product(rows: Array, kernel: Array) -> Array:
    return rows @ kernel


@_product.defjvp
def _product_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]):
    rows, kernel = primals
    rows_tangent, kernel_tangent = tangents
    fan_in, fan_out = kernel.shape
    # transposed again for the gradient; behind barriers, or XLA would undo the transpositions
    hold = jax.lax.optimization_barrier
    if fan_out < fan_in:
        tangent = hold(hold(kernel_tangent.T) @ rows.T).T
    else:
        tangent = jax.lax.dot_general(hold(rows.T), kernel_tangent, (((0,), (0,)), ((), ())))
    return rows @ kernel, rows_tangent @ kernel + tangent
