"""Moments of part gradients: what noise scales are estimated from."""

import math
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from geometry.matrices import MatrixView, ViewRule, leaves_by_path, plain_matrices, tree_shapes
from geometry.noise import NoiseScale, Spread, grams_of_leaf, leaf_scales, total_scale
from geometry.norms import EUCLIDEAN, SPECTRAL, Geometry
from geometry.precision import binary_unit, widened, widened_zeros

Views = tuple[tuple[str, MatrixView], ...]
Grams = dict[str, list[Float[Array, "matrices short short"]]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moments:
    """Running moments of the gradients of equal parts of a batch, such as accumulated micro-batches.

    `init`, then `add` once a part (inside a `lax.scan` too, where the number of parts may be traced), then
    `across` the ranks if there are several, then `estimate`. `of` starts from parts stacked on a leading
    axis. Moments are kept around the mean (Welford's update), in float32 or wider: sums of squares would
    lose a noise that is small beside the signal. Squares are kept in units of their own, since those of
    gradients beyond 1e±19 leave the range of float32.

    Attributes:
      count: the number of parts R.
      mean: the mean gradient.
      units: u of every leaf, a power of two near the largest entry of a part yet.
      squares: Σ (gʲ - mean)² / u² of every entry.
      grams: Σ D Dᵀ / u² with D = Gʲ - mean on the shorter side, of every stack of matrices by leaf; see
        `Grams`.
      views: how these leaves are seen as matrices; None where matrices were left out.
    """

    # trees of anything, since JAX rebuilds the class around shapes and shardings too
    count: PyTree
    mean: PyTree
    units: PyTree
    squares: PyTree
    grams: PyTree
    views: Views | None = field(metadata={"static": True})

    @classmethod
    def init(cls, params: PyTree, view: ViewRule | None = plain_matrices) -> "Moments":
        """No parts yet.

        Args:
          params: the parameters, or a gradient, for its shapes; inside `shard_map` a gradient of the rank's
            own, since a scan's carry must vary over the ranks as the parts do.
          view: which leaves are matrices, and how; None leaves the matrices' moments out, and with them
            the spectral scale.
        """
        views = views_of(params, view)
        # each its own arrays: one buffer in two places of a state could not be donated
        mean, squares = (jax.tree.map(widened_zeros, params) for _ in range(2))
        units = jax.tree.map(lambda leaf: binary_unit(jnp.zeros_like(leaf, shape=())), mean)
        return cls(jnp.zeros([], jnp.int32), mean, units, squares, _zero_grams(mean, views), views)

    @classmethod
    def of(cls, part_gradients: PyTree, view: ViewRule | None = plain_matrices) -> "Moments":
        """The moments of parts that are stacked on a leading axis; see `init` for `view`."""
        stacks = jax.tree.map(widened, part_gradients)
        parts, units = unstacked(stacks), jax.tree.map(binary_unit, stacks)
        # a chain of sums is one fused loop; on a CPU, XLA's mean over a leading axis is thirty times slower
        mean = jax.tree.map(lambda *leaves: sum(leaves) / len(parts), *parts)
        moments = replace(cls.init(mean, view), count=len(parts), mean=mean, units=units)
        for part in parts:
            moments = moments._around(jax.tree.map(jnp.subtract, part, mean), 1)
        return moments

    def add(self, part_gradient: PyTree) -> "Moments":
        """With one more part."""
        gap, moments = self._add_to_mean(part_gradient)
        # of the part, since the gap would have to be written out to be searched
        units = jax.tree.map(
            lambda unit, g: jnp.maximum(unit, binary_unit(widened(g))), self.units, part_gradient
        )
        weight = jnp.asarray(self.count, float) / moments.count
        return moments._in_units(units)._around(gap, weight)

    def restart(self, part_gradient: PyTree) -> "Moments":
        """Those of one part alone, which is its own mean: less work than to add it to none."""
        units, squares, grams = jax.tree.map(jnp.zeros_like, (self.units, self.squares, self.grams))
        mean = jax.tree.map(widened, part_gradient)
        return Moments(jnp.ones_like(self.count), mean, units, squares, grams, self.views)

    def add_to_mean(self, part_gradient: PyTree) -> "Moments":
        """With one more part in the count and the mean alone: for a batch that nobody measures."""
        return self._add_to_mean(part_gradient)[1]

    def across(self, axis_name: str | tuple[str, ...]) -> "Moments":
        """Those of the parts of all ranks together, inside `shard_map`; the same on every rank."""

        def total(tree):
            return jax.lax.psum(tree, axis_name)

        count = total(self.count)
        share = jnp.asarray(self.count, float) / count
        mean = total(jax.tree.map(lambda centre: share.astype(centre.dtype) * centre, self.mean))
        gap = jax.tree.map(jnp.subtract, self.mean, mean)
        centred = self._in_units(jax.lax.pmax(self.units, axis_name))._around(gap, self.count)
        return replace(
            centred, count=count, mean=mean, squares=total(centred.squares), grams=total(centred.grams)
        )

    def estimate(self, batch_size: ArrayLike, geometry: Geometry, *, corrected: bool = False) -> NoiseScale:
        """The noise scale of the whole tree.

        σ̂² = B/(R-1) · mean_j (gʲ - g)² and Ĉ_row likewise are unbiased, whatever the number of parts; their
        roots, and so the noise, are too small by a factor of about `c4(R)`: 0.80 for two parts, 0.965 for
        eight. The signal is the dual norm of the mean gradient, too large by the noise in it: without any
        true gradient the Euclidean scale comes out as B and the sign scale as (π/2) c4(R)² B.

        Args:
          batch_size: B, the number of examples in all parts of all ranks together.
          geometry: EUCLIDEAN, SIGN or SPECTRAL.
          corrected: whether to take out the bias known in closed form; see `NoiseScale.corrected`.

        Raises:
          ValueError: there are fewer than two parts (NaN where their number is traced), the geometry has
            no noise scale, or is SPECTRAL and the matrices' moments were left out.
        """
        scale = total_scale(leaf_scales(self._spreads(batch_size, geometry), geometry))
        return scale.corrected(batch_size, self.count) if corrected else scale

    def estimate_leaves(
        self, batch_size: ArrayLike, geometry: Geometry, *, corrected: bool = False
    ) -> dict[str, NoiseScale]:
        """The noise scale of every leaf by its path; see `estimate`."""
        scales = leaf_scales(self._spreads(batch_size, geometry), geometry)
        if not corrected:
            return scales
        return {path: scale.corrected(batch_size, self.count) for path, scale in scales.items()}

    def _add_to_mean(self, part_gradient: PyTree) -> tuple[PyTree, "Moments"]:
        count = self.count + 1
        gap = jax.tree.map(lambda g, centre: widened(g) - centre, part_gradient, self.mean)
        # not g / count, which XLA rewrites in some programs and not in others, to other last bits
        share = 1 / jnp.asarray(count, float)
        mean = jax.tree.map(lambda centre, g: centre + share.astype(centre.dtype) * g, self.mean, gap)
        return gap, replace(self, count=count, mean=mean)

    def _around(self, gap: PyTree, weight: ArrayLike) -> "Moments":
        """With `weight` times the square of `gap` added to the squares, and to the grams likewise."""

        def add(total, new):
            return total + jnp.asarray(weight, total.dtype) * new

        gap = jax.tree.map(lambda g, unit: g * (1 / unit), gap, self.units)  # exact, faster than to divide
        squares = jax.tree.map(lambda total, g: add(total, g**2), self.squares, gap)
        grams = jax.tree.map(add, self.grams, _grams_of(gap, self.views))
        return replace(self, squares=squares, grams=grams)

    def _in_units(self, units: PyTree) -> "Moments":
        """The same in other units, which are no smaller."""
        factors = jax.tree.map(lambda old, new: (old / new) ** 2, self.units, units)
        squares = jax.tree.map(jnp.multiply, self.squares, factors)
        by_path = leaves_by_path(factors)
        grams = {path: [by_path[path] * gram for gram in of_leaf] for path, of_leaf in self.grams.items()}
        return replace(self, units=units, squares=squares, grams=grams)

    def _spreads(self, batch_size: ArrayLike, geometry: Geometry) -> dict[str, Spread]:
        """What the parts tell of each leaf, with what `geometry` needs of it."""
        # in NumPy: under a trace, JAX would trace the comparison of a known count too
        if not isinstance(self.count, jax.core.Tracer) and np.asarray(self.count) < 2:
            raise ValueError(
                f"a noise scale needs the gradients of at least two parts, got {self.count}: split the batch"
                " in micro-batches, or name the axis of the ranks"
            )
        if geometry == SPECTRAL and self.views is None:
            raise ValueError("the spectral noise scale needs the matrices' moments, got view=None")
        count = jnp.asarray(self.count, float)
        factor = jnp.where(count > 1, batch_size / (count * (count - 1)), math.nan)
        means, units, squares = map(leaves_by_path, (self.mean, self.units, self.squares))
        spreads = {path: Spread(mean, units[path], factor * squares[path]) for path, mean in means.items()}
        if geometry == SPECTRAL:
            for path, grams in self.grams.items():
                covariances = [factor * gram for gram in grams]
                spreads[path] = spreads[path]._replace(view=dict(self.views)[path], covariances=covariances)
        return spreads


def noise_scale(
    part_gradients: PyTree,
    batch_size: ArrayLike,
    geometry: Geometry,
    *,
    view: ViewRule = plain_matrices,
    axis_name: str | tuple[str, ...] | None = None,
    corrected: bool = False,
) -> NoiseScale:
    """The noise scale from the gradients of equal parts of a batch, stacked on a leading axis.

    >>> from geometry import EUCLIDEAN, SIGN
    >>> two_ranks = jnp.array([[3.0, 1.0], [1.0, 1.0]])
    >>> [round(float(noise_scale(two_ranks, 2, one).value), 4) for one in (EUCLIDEAN, SIGN)]
    [0.4, 0.2222]

    Args:
      part_gradients: a tree of gradients with the parts as leading axis; measured before any clipping.
      batch_size: B, the number of examples in all parts of all ranks together.
      geometry: EUCLIDEAN, SIGN or SPECTRAL.
      view: which leaves are matrices, and how; leaves of two axes unless told otherwise.
      axis_name: the mesh axes of data-parallel ranks, inside `shard_map`.
      corrected: whether to take out the bias known in closed form.

    Raises:
      ValueError: as `Moments.estimate` does, to which this is the short way.
    """
    moments = Moments.of(part_gradients, view if geometry == SPECTRAL else None)
    moments = moments if axis_name is None else moments.across(axis_name)
    return moments.estimate(batch_size, geometry, corrected=corrected)


def inner_product_scale(part_gradients: PyTree, batch_size: ArrayLike) -> NoiseScale:
    """The Euclidean noise along the mean gradient alone, √(Var⟨gᵢ, g⟩)/‖g‖ of an example, and the signal ‖g‖.

    Its `value` is Var⟨gᵢ, g⟩/‖g‖⁴, the batch of the inner-product test at θ = 1 (arXiv:1710.11258), and no
    larger than that of `noise_scale`. The variance is that of whole trees: leaf by leaf it would lack their
    covariances.

    >>> from geometry import EUCLIDEAN
    >>> parts = jnp.array([[3.0, 1.0], [1.0, 5.0]])
    >>> scales = inner_product_scale(parts, 2), noise_scale(parts, 2, EUCLIDEAN)
    >>> [round(float(scale.value), 4) for scale in scales]
    [0.1893, 0.7692]

    Args:
      part_gradients: a tree of gradients with the parts as leading axis; measured before any clipping.
      batch_size: B, the number of examples in all parts together.

    Raises:
      ValueError: there are fewer than two parts.
    """
    parts = [jax.tree.map(widened, part) for part in unstacked(part_gradients)]
    if len(parts) < 2:
        raise ValueError(f"inner_product_scale needs the gradients of at least two parts, got {len(parts)}")
    mean = jax.tree.map(lambda *leaves: sum(leaves) / len(parts), *parts)
    signal = EUCLIDEAN.norm(jnp.asarray([EUCLIDEAN.norm(leaf) for leaf in jax.tree.leaves(mean)]))
    unit = jax.tree.map(lambda leaf: leaf / jnp.where(signal > 0, signal, 1), mean)
    products = [jax.tree.map(lambda u, g: jnp.sum(u * g), unit, part) for part in parts]
    projections = jnp.asarray([sum(jax.tree.leaves(product)) for product in products])
    noise = jnp.sqrt(batch_size / len(parts)) * jnp.std(projections, ddof=1)
    return NoiseScale(noise, signal, EUCLIDEAN)


def unstacked(part_gradients: PyTree) -> list[PyTree]:
    """The gradients of the parts that are stacked on a leading axis."""
    leaves, structure = jax.tree.flatten(part_gradients)
    return [structure.unflatten(part) for part in zip(*map(jnp.unstack, leaves), strict=True)]


def views_of(tree: PyTree, view: ViewRule | None) -> Views | None:
    """How the leaves that are matrices are seen, by path; None without a rule."""
    if view is None:
        return None
    seen = ((path, view(path, shape)) for path, shape in tree_shapes(tree).items())
    return tuple((path, matrices) for path, matrices in seen if matrices is not None)


def _grams_of(tree: PyTree, views: Views | None) -> Grams:
    leaves = leaves_by_path(tree)
    return {path: grams_of_leaf(leaves[path], view) for path, view in views or ()}


def _zero_grams(zeros: PyTree, views: Views | None) -> Grams:
    """Made without a product, which Explicit axes would refuse; they vary over the ranks as `zeros` do."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), zeros)
    grams = jax.eval_shape(lambda tree: _grams_of(tree, views), shapes)
    leaves = leaves_by_path(zeros)
    return {
        path: [jnp.zeros_like(leaves[path], shape=gram.shape) for gram in of_leaf]
        for path, of_leaf in grams.items()
    }
