"""Interpolation through a few knots that stays finite, with its gradients, when knots coincide.

Both interpolants are sums of one increment per piece: a piece adds what it rises by, from nothing at its
left knot to all of it at its right one. No piece is looked up, so thousands of curves vectorise, and a
piece without width is a jump: at a coincident knot the curve still has the value of the first one there.
Source: Fritsch and Carlson (1980) for the monotone cubic; its end slopes as in SciPy and Matlab.
"""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = Float[Array, ""]


def piecewise_linear(x: Float[Array, "*batch"], knots: Sequence[Scalar], values: Sequence[Scalar]) -> Array:
    """The polygon through (knots[k], values[k]), constant outside.

    `knots` ascend; those closer than the resolution of the dtype are moved apart to it. Differentiable in
    every argument.
    """
    knots = _separated(knots, x.dtype)
    curve = jnp.full_like(x, 1.0) * values[0]
    for left, right, low, high in zip(knots[:-1], knots[1:], values[:-1], values[1:], strict=True):
        curve += jnp.clip((x - left) / (right - left), 0, 1) * (high - low)
    return curve


def pchip(x: Float[Array, "*batch"], knots: Sequence[Scalar], values: Sequence[Scalar]) -> Array:
    """The monotone piecewise cubic through three knots or more, constant outside.

    On distinct knots it is `scipy.interpolate.PchipInterpolator`. `knots` ascend; those closer than the
    resolution of the dtype are moved apart to it. Differentiable in every argument.
    """
    knots = _separated(knots, x.dtype)
    widths = [right - left for left, right in itertools.pairwise(knots)]
    rises = [high - low for low, high in itertools.pairwise(values)]
    slopes = _slopes(widths, [rise / width for rise, width in zip(rises, widths, strict=True)])
    curve = jnp.full_like(x, 1.0) * values[0]
    for k, (width, rise) in enumerate(zip(widths, rises, strict=True)):
        first, last = width * slopes[k], width * slopes[k + 1]
        s = jnp.clip((x - knots[k]) / width, 0, 1)
        curve += s * (first + s * ((3 * rise - 2 * first - last) + s * (first + last - 2 * rise)))
    return curve


def _separated(knots: Sequence[Scalar], dtype) -> list[Scalar]:
    resolution = jnp.finfo(dtype).eps
    separated = [knots[0]]
    for knot in knots[1:]:
        separated.append(jnp.maximum(knot, separated[-1] + resolution))
    return separated


def _slopes(widths: list[Scalar], secants: list[Scalar]) -> list[Scalar]:
    inner = [
        _inner_slope(*neighbours)
        for neighbours in zip(widths[:-1], widths[1:], secants[:-1], secants[1:], strict=True)
    ]
    return [
        _end_slope(widths[0], widths[1], secants[0], secants[1]),
        *inner,
        _end_slope(widths[-1], widths[-2], secants[-1], secants[-2]),
    ]


def _inner_slope(left_width: Scalar, right_width: Scalar, left: Scalar, right: Scalar) -> Scalar:
    """The weighted harmonic mean of the secants on both sides; 0 at a local extremum."""
    negligible = jnp.finfo(left.dtype).eps ** 2  # squares of smaller secants leave float32's range
    monotone = (jnp.sign(left) == jnp.sign(right)) & (jnp.minimum(jnp.abs(left), jnp.abs(right)) > negligible)
    left, right = jnp.where(monotone, left, 1), jnp.where(monotone, right, 1)
    left_weight, right_weight = 2 * right_width + left_width, right_width + 2 * left_width
    mean = (left_weight + right_weight) / (left_weight / left + right_weight / right)
    return jnp.where(monotone, mean, 0)


def _end_slope(width: Scalar, next_width: Scalar, secant: Scalar, next_secant: Scalar) -> Scalar:
    """The three-point slope, bent where it would overshoot."""
    slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width)
    overshoots = (jnp.sign(secant) != jnp.sign(next_secant)) & (jnp.abs(slope) > 3 * jnp.abs(secant))
    return jnp.where(jnp.sign(slope) != jnp.sign(secant), 0, jnp.where(overshoots, 3 * secant, slope))
