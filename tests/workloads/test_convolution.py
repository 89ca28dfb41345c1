"""The convolutions against the library's own, under every transformation that training applies."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads.convolution import convolution, pooled_convolution

NHWC = ("NHWC", "HWIO", "NHWC")
FEW, MANY = 3, 6  # channels: pooled as blocks, and as a convolution
SHAPES = [
    ((1, 1), "SAME"),
    ((3, 3), "SAME"),
    ((3, 3), "VALID"),
    ((2, 3), "SAME"),
    ((2, 3), "SAME_LOWER"),
    ((5, 4), ((1, 3), (0, 3))),
    ((2, 2), ((2, 3), (4, 1))),  # wider than the kernel: its gradient is of a cut cotangent
]


def library(images, kernel, window_strides, padding):
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), padding, dimension_numbers=NHWC)


def library_pooled(images, kernel, window_strides, padding):
    return nn.max_pool(library(images, kernel, window_strides, padding), (2, 2), strides=(2, 2))


PAIRS = {"plain": (convolution, library), "pooled": (pooled_convolution, library_pooled)}


def arrays(size, channels, dtype=np.float32, batch=6):
    """Images whose convolution has an even size, and a kernel of 4 features."""
    rng = np.random.default_rng(0)
    shapes = (batch, 8, 10, channels), (*size, channels, 4)
    return tuple(jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)


def results(hook, images, kernel, padding):
    """The output, and its pull-back to images and kernel from one random cotangent."""
    function = functools.partial(hook, window_strides=(1, 1), padding=padding)
    shape = jax.eval_shape(function, images, kernel).shape
    cotangent = np.random.default_rng(1).normal(size=shape).astype(images.dtype)

    @jax.jit
    def all_three(images, kernel):
        values, pullback = jax.vjp(function, images, kernel)
        return values, *pullback(cotangent)

    return all_three(images, kernel)


def even(size, padding):
    """Cut images so that a VALID or explicit padding leaves an even size."""
    if isinstance(padding, str) and padding != "VALID":
        return 8, 10
    pads = ((0, 0), (0, 0)) if padding == "VALID" else padding
    return tuple(n - (n + sum(p) - k + 1) % 2 for n, p, k in zip((8, 10), pads, size, strict=True))


def assert_close(ours, theirs, tolerance):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.max(np.abs(b)))


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize("channels", [FEW, MANY])
@pytest.mark.parametrize(("size", "padding"), SHAPES)
def test_values_and_both_gradients_are_the_librarys_in_float64(size, padding, channels, form):
    height, width = even(size, padding)
    with jax.enable_x64(True):
        images, kernel = arrays(size, channels, np.float64)
        images = images[:, :height, :width]
        ours, theirs = (results(hook, images, kernel, padding) for hook in PAIRS[form])
    assert_close(ours, theirs, 1e-13)  # sums of up to some hundred products


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize("channels", [FEW, MANY])
def test_single_precision_loses_only_round_off(channels, form):
    images, kernel = arrays((3, 3), channels)
    ours, theirs = PAIRS[form]
    with jax.enable_x64(True):
        expected = results(theirs, *(x.astype(np.float64) for x in (images, kernel)), "SAME")
    assert_close(results(ours, images, kernel, "SAME"), expected, 2e-6)


def test_images_too_large_to_be_taken_together_add_up():
    rng = np.random.default_rng(2)
    images = jnp.asarray(rng.normal(size=(6, 20, 20, 5)), jnp.float32)  # two at a time
    kernel = jnp.asarray(rng.normal(size=(3, 3, 5, 2)), jnp.float32)
    assert_close(*(results(hook, images, kernel, "SAME") for hook in PAIRS["plain"]), 2e-6)


def test_bfloat16_gradients_are_summed_in_float32():
    """Summed in bfloat16, the first image would drown the next three and the last one leave nothing."""
    brightness = jnp.asarray([256, 1, 1, 1, -256], jnp.bfloat16)
    images = jnp.broadcast_to(brightness[:, None, None, None], (5, 32, 32, 5))
    kernel = jnp.zeros((1, 1, 5, 2), jnp.bfloat16)
    gradient = jax.grad(lambda k: jnp.sum(convolution(images, k, (1, 1), "SAME").astype(jnp.float32)))(kernel)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(gradient.astype(jnp.float32), 3 * 32 * 32)


def flat_gradient(hook, images, kernel):
    """Of a loss whose Hessian is not zero."""
    return jax.grad(lambda k: jnp.sum(jnp.tanh(hook(images, k, (1, 1), "SAME")) ** 2))(kernel)


@functools.cache
def compiled_gradient(hook):
    return jax.jit(functools.partial(flat_gradient, hook))


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize("channels", [FEW, MANY])
@pytest.mark.parametrize("batched", [(0, None), (None, 0), (0, 0)])
def test_vmap_over_images_and_kernels(batched, channels, form):
    images, kernel = arrays((3, 3), channels)
    many = [
        jnp.stack([x, x[..., ::-1], 2 * x]) if axis == 0 else x
        for x, axis in zip((images, kernel), batched, strict=True)
    ]
    ours, theirs = PAIRS[form]
    computed = jax.jit(jax.vmap(functools.partial(flat_gradient, ours), batched))(*many)
    for run in range(3):
        single = [x[run] if axis == 0 else x for x, axis in zip(many, batched, strict=True)]
        assert_close(computed[run], compiled_gradient(theirs)(*single), 2e-5)


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize("channels", [FEW, MANY])
def test_second_derivatives_and_forward_mode(channels, form):
    """A Hessian–vector product forward over reverse, linearised as geometry does it, and a Jacobian's."""
    images, kernel = arrays((3, 3), channels)
    direction = jnp.asarray(np.random.default_rng(3).normal(size=kernel.shape), jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def products(hook, kernel, direction):
        output = functools.partial(hook, images, window_strides=None, padding="SAME")
        hessian = jax.linearize(functools.partial(flat_gradient, hook, images), kernel)[1]
        return hessian(direction), jax.jvp(output, (kernel,), (direction,))[1]

    assert_close(*(products(hook, kernel, direction) for hook in PAIRS[form]), 2e-5)


@pytest.mark.parametrize("form", PAIRS)
def test_inside_a_scan_on_every_device_of_a_mesh(form):
    """Descent on a run of its own on each of eight devices, against the library's, step by step."""
    images, kernel = arrays((3, 3), MANY)
    kernels = jnp.linspace(0.5, 1.5, 8)[:, None, None, None, None] * kernel[None]
    ours, theirs = PAIRS[form]

    def descend(kernels):
        def step(k, _):
            return k - 1e-3 * flat_gradient(ours, images, k), None

        return jax.lax.scan(step, kernels[0], None, length=3)[0][None]

    mesh = jax.make_mesh((8,), ("runs",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("runs")
    computed = jax.jit(jax.shard_map(descend, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))(
        kernels
    )
    for k, ended in zip(kernels, computed, strict=True):
        for _ in range(3):
            k -= 1e-3 * compiled_gradient(theirs)(images, k)
        assert_close(ended, k, 1e-5)


@pytest.mark.parametrize(("platform", "librarys"), [("cpu", False), ("cuda", True), ("tpu", True)])
@pytest.mark.parametrize("channels", [FEW, MANY])
def test_each_platform_gets_its_own_form_and_no_other(platform, librarys, channels):
    images, kernel = arrays((3, 3), channels)
    gradient = jax.jit(functools.partial(flat_gradient, pooled_convolution))
    program = gradient.trace(images, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert ("select_and_scatter" in program) == librarys  # the gradient of the library's pooling
    assert ("dot_general" in program) != librarys


@pytest.mark.parametrize("hook", [convolution, pooled_convolution])
@pytest.mark.parametrize(
    "option",
    [
        {"window_strides": (2, 1)},
        {"window_strides": (2, 2)},
        {"lhs_dilation": (2, 2)},
        {"rhs_dilation": (1, 2)},
        {"feature_group_count": 2},
        {"batch_group_count": 3},
    ],
)
def test_unsupported_options_are_refused_by_name(hook, option):
    images, kernel = arrays((3, 3), FEW)
    (name,) = option
    with pytest.raises(ValueError, match=f"{hook.__name__}: {name} must be 1"):
        hook(images, kernel, **{"window_strides": (1, 1), "padding": "SAME", **option})


@pytest.mark.parametrize("option", [{"strides": 2}, {"kernel_dilation": 2}])
def test_a_flax_convolution_with_unsupported_options_is_refused(option):
    layer = nn.Conv(4, (3, 3), conv_general_dilated=convolution, **option)
    with pytest.raises(ValueError, match=r"convolution: .* must be 1"):
        layer.init(jax.random.key(0), arrays((3, 3), FEW)[0])


@pytest.mark.parametrize("size", [(7, 8), (8, 7)])
def test_odd_sizes_are_refused_before_pooling(size):
    with pytest.raises(ValueError, match=f"before the 2×2 pooling must be even, got {size[0]}×{size[1]}"):
        pooled_convolution(jnp.zeros((1, *size, 3)), jnp.zeros((3, 3, 3, 4)), None, "SAME")
