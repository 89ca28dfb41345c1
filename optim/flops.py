"""The floating-point operations of a function, read off its trace."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


def matrix_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """FLOPs of all matrix products and convolutions, a multiply–add counted as two.

    Of what is written differently for each platform the library's form is counted, whose products are what
    the mathematics asks for: a form that is faster with more of them gets no credit for these. A convolution
    counts its padding as if it were image, and a product with one-hot rows, which is a look-up, nothing.

    Args:
      function: traced, not run.
      arguments: arrays, or the `jax.ShapeDtypeStruct` of them.

    >>> matrix_flops(lambda a, b: a @ b, *[jax.ShapeDtypeStruct((10, 10), "float32")] * 2)
    2000

    Raises:
      ValueError: there is a product in a loop of unknown length.
    """
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flops(jaxpr: Jaxpr) -> int:
    one_hot = {
        output
        for equation in jaxpr.eqns
        if equation.params.get("name") == "_one_hot"
        for output in equation.outvars
    }
    products = (
        equation
        for equation in jaxpr.eqns
        if not any(given is looked_up for given in equation.invars for looked_up in one_hot)
    )
    return sum(_equation_flops(equation) for equation in products)


def _equation_flops(equation: JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        factor = equation.invars[0].aval.shape
        return 2 * equation.outvars[0].aval.size * math.prod(factor[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        _, *summed = (kernel[axis] for axis in params["dimension_numbers"].rhs_spec)
        return 2 * equation.outvars[0].aval.size * math.prod(summed)
    if name == "cond" and params.get("branches_platforms"):
        return _flops(params["branches"][-1].jaxpr)  # the default, behind those with a platform's name
    inner = [_flops(jaxpr) for jaxpr in _jaxprs(params.values())]
    if name == "cond":
        return max(inner)
    if name == "while" and any(inner):
        raise ValueError("matrix_flops: there is a product in a loop of unknown length")
    return sum(inner) * params.get("length", 1)


def _jaxprs(values: Iterable[Any]) -> Iterable[Jaxpr]:
    for value in values:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _jaxprs(value)
