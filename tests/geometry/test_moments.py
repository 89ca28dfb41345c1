"""Moments of part gradients: stacked, running and across ranks, against NumPy in float64; their errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from geometry import EUCLIDEAN, SIGN, SPECTRAL, MatrixView, Moments, ky_fan, noise_scale

PARTS = 6
SHAPES = {"bias": (4,), "kernel": (5, 3), "qkv": (3, 7)}
VIEWS = {"kernel": MatrixView((0,), (1,)), "qkv": MatrixView((0,), (1,), blocks=(3, 4))}
SLICES = {"kernel": lambda g: [g.T], "qkv": lambda g: [g[:, :3], g[:, 3:]]}  # the shorter side first


def view(path, shape):
    return VIEWS.get(path)


def drawn(parts=PARTS, centre=1.0, deviation=1.0):
    """Part gradients in float32, so that float64 references see the same numbers."""
    rng = np.random.default_rng(0)
    return {
        leaf: np.float32(centre + deviation * rng.normal(size=(parts, *shape)))
        for leaf, shape in SHAPES.items()
    }


def numpy_moments(part_gradients):
    """(mean, squares, grams) by leaf, in float64."""
    parts = {leaf: np.asarray(g, np.float64) for leaf, g in part_gradients.items()}
    mean = {leaf: g.mean(axis=0) for leaf, g in parts.items()}
    squares = {leaf: np.sum((g - mean[leaf]) ** 2, axis=0) for leaf, g in parts.items()}
    deviations = {leaf: [SLICES[leaf](part - mean[leaf]) for part in parts[leaf]] for leaf in SLICES}
    grams = {
        leaf: [sum(d @ d.T for d in block)[None] for block in zip(*parts, strict=True)]
        for leaf, parts in deviations.items()
    }
    return mean, squares, grams


def assert_moments(moments, part_gradients, rtol=1e-5):
    assert moments.count == len(part_gradients["bias"])
    squared_units = {leaf: np.square(unit, dtype=np.float64) for leaf, unit in moments.units.items()}
    squares = {leaf: squared_units[leaf] * of_leaf for leaf, of_leaf in moments.squares.items()}
    grams = {leaf: [squared_units[leaf] * g for g in of_leaf] for leaf, of_leaf in moments.grams.items()}
    for computed, expected in zip((moments.mean, squares, grams), numpy_moments(part_gradients), strict=True):
        # entries of a Gram matrix are rounded relative to its diagonal, and means to the parts
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_allclose(
                ours, theirs, rtol=rtol, atol=rtol * np.max(np.abs(theirs))
            ),
            computed,
            expected,
        )


def compiled(function, **options):
    """Quickly rather than well."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)


def looped(part_gradients):
    moments = Moments.init(jax.tree.map(lambda g: g[0], part_gradients), view)
    for part in range(PARTS):
        moments = moments.add(jax.tree.map(lambda g, part=part: g[part], part_gradients))
    return moments


def scanned(part_gradients):
    start = Moments.init(jax.tree.map(lambda g: g[0], part_gradients), view)
    return jax.lax.scan(lambda moments, g: (moments.add(g), None), start, part_gradients)[0]


def counted(part_gradients, count):
    """Those of the first `count` parts, which may be traced."""

    def add(part, moments):
        return moments.add(jax.tree.map(lambda g: g[part], part_gradients))

    first = jax.tree.map(lambda g: g[0], part_gradients)
    return jax.lax.fori_loop(0, count, add, Moments.init(first, view))


FORMS = {
    "of": compiled(lambda g: Moments.of(g, view)),
    "of and add": compiled(
        lambda g: Moments.of(jax.tree.map(lambda x: x[1:], g), view).add(jax.tree.map(lambda x: x[0], g))
    ),
    "loop": compiled(looped),
    "scan": compiled(scanned),
    "traced count": functools.partial(compiled(counted), count=PARTS),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_numpys_moments(form):
    assert_moments(FORMS[form](drawn()), drawn())


@pytest.mark.parametrize("form", ["of", "scan"])
def test_a_noise_small_beside_the_signal_is_kept(form):
    gradients = drawn(centre=1e4, deviation=1e-2)
    # a difference of sums of squares is off by 1e4 times this noise; the mean, by an ulp of 1e-3
    assert_moments(FORMS[form](gradients), gradients, rtol=0.1)


def estimates(moments, batch_size=12):
    options = {EUCLIDEAN: False, SIGN: True, SPECTRAL: False}
    return [
        moments.estimate(batch_size, geometry, corrected=corrected) for geometry, corrected in options.items()
    ]


def test_estimates_of_a_traced_count_equal_those_of_the_stack():
    running = compiled(lambda g, count: estimates(counted(g, count)))
    first = jax.tree.map(lambda g: g[:4], drawn())
    expected = compiled(lambda g: estimates(Moments.of(g, view)))(first)
    for ours, theirs in zip(running(drawn(), 4), expected, strict=True):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-4)
        assert ours.by_sign == theirs.by_sign
    running(drawn(), PARTS)
    assert running._cache_size() == 1


def test_one_traced_part_gives_nan():
    estimate = compiled(lambda g, count: counted(g, count).estimate(4, EUCLIDEAN))(drawn(), 1)
    assert np.isnan(estimate.noise)
    assert np.isnan(estimate.value)


MESHES = {"ranks": (8,), ("x", "y"): (2, 4)}


def over_ranks(axes, function, part_gradients, *arguments):
    """`function` of each rank's share of the parts, inside `shard_map` over all eight devices."""
    mesh = jax.make_mesh(
        MESHES[axes],
        axes if isinstance(axes, tuple) else (axes,),
        axis_types=(jax.sharding.AxisType.Auto,) * len(MESHES[axes]),
    )
    specs = (PartitionSpec(axes),) * (1 + len(arguments))
    sharded = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec())
    return compiled(sharded)(part_gradients, *arguments)


@pytest.mark.parametrize(("axes", "parts_of_rank"), [("ranks", 3), (("x", "y"), 2)])
def test_ranks_of_equally_many_parts(axes, parts_of_rank):
    gradients = drawn(8 * parts_of_rank)
    assert_moments(over_ranks(axes, lambda g: Moments.of(g, view).across(axes), gradients), gradients)


@pytest.mark.parametrize("axes", MESHES)
def test_ranks_of_different_counts(axes):
    counts = np.array([1, 3, 2, 1, 1, 2, 3, 0])  # the last rank has seen nothing

    def across(part_gradients, count):
        return counted(part_gradients, count[0]).across(axes)

    gradients = drawn(8 * 3)
    seen = np.concatenate([np.arange(count) + 3 * rank for rank, count in enumerate(counts)])
    assert_moments(over_ranks(axes, across, gradients, counts), {k: g[seen] for k, g in gradients.items()})


def test_noise_scale_across_ranks_equals_the_stacked_one():
    def scale(part_gradients, axis_name=None):
        return noise_scale(part_gradients, 32, SIGN, axis_name=axis_name).value

    ranks = over_ranks("ranks", lambda g: scale(g, "ranks"), drawn(8))
    np.testing.assert_allclose(ranks, compiled(scale)(drawn(8)), rtol=1e-5)


def test_bfloat16_is_widened_before_anything_is_computed():
    narrow = jax.tree.map(lambda g: g.astype(jnp.bfloat16), drawn())
    for form in ("of", "scan"):
        moments = FORMS[form](narrow)
        assert {leaf.dtype for leaf in jax.tree.leaves((moments.mean, moments.grams))} == {
            jnp.dtype("float32")
        }
        assert_moments(moments, jax.tree.map(np.float32, narrow))


@pytest.mark.parametrize("form", ["of", "scan", "traced count"])
def test_float64_stays_float64(form):
    gradients = jax.tree.map(np.float64, drawn())
    with jax.enable_x64(True):
        moments = FORMS[form](gradients)
        noise = compiled(lambda moments: moments.estimate(12, EUCLIDEAN).noise)(moments)
        assert_moments(moments, gradients, rtol=1e-14)
    variance = sum(np.sum(squares) for squares in numpy_moments(gradients)[1].values())
    np.testing.assert_allclose(noise, np.sqrt(12 / (PARTS * (PARTS - 1)) * variance), rtol=1e-14)


def test_float32_beside_enabled_float64_stays_float32():
    with jax.enable_x64(True):
        moments = FORMS["scan"](drawn())
        assert {leaf.dtype for leaf in jax.tree.leaves((moments.mean, moments.grams))} == {
            jnp.dtype("float32")
        }


def assert_refused(message, function, parts=PARTS):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(function, drawn(parts))


@pytest.mark.parametrize("geometry", [EUCLIDEAN, SIGN, SPECTRAL], ids=lambda geometry: geometry.name)
def test_one_part_is_refused_with_a_way_out(geometry):
    message = "at least two parts, got 1: split the batch in micro-batches, or name the axis of the ranks"
    assert_refused(message, lambda g: Moments.of(g).estimate(12, geometry), parts=1)
    assert_refused(message, lambda g: Moments.of(g).estimate_leaves(12, geometry), parts=1)


def test_geometries_without_a_noise_scale_are_refused():
    message = r"only euclidean, sign, spectral have a noise scale, got ky_fan\(2\)"
    assert_refused(message, lambda g: noise_scale(g, 12, ky_fan(2), view=view))


def test_the_spectral_scale_needs_matrices_and_has_no_correction():
    message = "needs the matrices' moments, got view=None"
    assert_refused(message, lambda g: Moments.of(g, view=None).estimate(12, SPECTRAL))
    message = "bias of the spectral noise has no closed form"
    assert_refused(message, lambda g: noise_scale(g, 12, SPECTRAL, view=view, corrected=True))


def test_without_views_the_other_scales_are_the_same():
    def values(part_gradients, rule):
        moments = Moments.of(part_gradients, rule)
        return [moments.estimate(12, geometry).value for geometry in (EUCLIDEAN, SIGN)], moments.grams

    bare, full = (compiled(values, static_argnums=1)(drawn(), rule) for rule in (None, view))
    assert bare[0] == full[0]
    assert (len(bare[1]), len(full[1])) == (0, 2)
