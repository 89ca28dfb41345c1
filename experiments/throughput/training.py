"""How fast every workload trains: its share of the devices' GEMM peak, and against the usual convolutions.

Speed depends on shapes alone, so data that would have to be downloaded is drawn at random.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import workloads
from experiments.throughput.measure import Side, compare, share_of_gemm_peak, sweep_side
from optim.flops import matrix_flops
from workloads import Workload
from workloads.convolution import image_patches
from workloads.images import CIFAR_CNN, CNN, ImageData, classification
from workloads.text import TextData, evenly_spread, language_model
from workloads.transformer import SIZES, Size, Transformer
from workloads.workload import subset_indices

EXAMPLES = 1024  # in a random data set


class Setting(NamedTuple):
    """A workload in training with Adam, and how many runs a device computes side by side."""

    name: str
    make: Callable[[], Workload]
    batch_size: int
    steps: int
    vectorize: int = 1


def images(model: nn.Module, *shape: int) -> Workload:
    """`model` on random images of this shape with one of ten labels."""
    rng = np.random.default_rng(0)
    pixels = jnp.asarray(rng.integers(0, 256, (EXAMPLES, *shape), np.uint8))
    labels = jnp.asarray(rng.integers(0, 10, EXAMPLES))
    return classification(ImageData(pixels, labels, pixels[:1], labels[:1]), model)


def tokens(num_tokens: int, size: Size) -> Workload:
    """A transformer of that size on blocks of random tokens."""
    model = Transformer(num_tokens, **size._asdict())
    ids = np.random.default_rng(0).integers(0, num_tokens, (EXAMPLES, model.context + 1))
    blocks = jnp.asarray(ids, jnp.uint8 if num_tokens <= 256 else jnp.uint16)
    data = TextData(blocks, blocks[:1])
    return language_model(data, model, indices=subset_indices, evaluated=evenly_spread)


def cifar10_cnn() -> Workload:
    return images(CIFAR_CNN, 32, 32, 3)


SETTINGS = (
    Setting("linear regression, D = 64", lambda: workloads.load("linear_regression"), 8, 1000, 64),
    Setting("digits MLP 64-128-10", lambda: workloads.load("digits"), 64, 500),
    Setting("digits CNN", lambda: workloads.load("digits", model="cnn"), 64, 200),
    Setting("MNIST CNN", lambda: images(CIFAR_CNN, 28, 28, 1), 64, 60),
    Setting("CIFAR-10 CNN", cifar10_cnn, 64, 60),
    Setting("transformer, width 64, 2 layers, context 64", lambda: tokens(84, SIZES["laptop"]), 16, 60),
    Setting("transformer, width 128, 6 layers, context 256", lambda: tokens(8192, SIZES["paper"]), 4, 3),
)


class LibraryCNN(nn.Module):
    """The CNN as it is usually written: ReLU, then pooling; Flax's own convolution or another."""

    features: tuple[int, ...]
    hidden: tuple[int, ...] = ()
    convolution: Callable | None = None
    pool: Callable = lambda x: nn.max_pool(x, (2, 2), strides=(2, 2))

    @nn.compact
    def __call__(self, x):
        for features in self.features:
            x = self.pool(nn.relu(nn.Conv(features, (3, 3), conv_general_dilated=self.convolution)(x)))
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(10, name="head")(x)


def im2col(inputs, kernel, window_strides, padding, **_):
    """A convolution as one product over image patches."""
    rows, columns, _, features = kernel.shape
    return image_patches(inputs, (rows, columns), padding) @ kernel.reshape(-1, features)


def block_max(x):
    batch, height, width, channels = x.shape
    return jnp.max(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


COMPARISONS = (
    (
        Setting("CIFAR-10 CNN", cifar10_cnn, 64, 30),
        "im2col and a reshaped maximum",
        lambda: images(LibraryCNN((32, 64), (256,), im2col, block_max), 32, 32, 3),
    ),
    (
        Setting("digits CNN, 8 runs in one vmap", lambda: images(CNN(10), 8, 8, 1), 64, 30, vectorize=8),
        "Flax's convolution and pooling",
        lambda: images(LibraryCNN((16, 32)), 8, 8, 1),
    ),
)


def report_training(repeats: int, console: Console) -> None:
    """Print speed and share of the GEMM peak of every workload, and what the convolutions gain."""
    table = Table(
        "training with Adam", "batch", "steps", "runs/s", "ms per run-step", "GFLOP/s", "of the GEMM peak"
    )
    for setting in SETTINGS:
        training, flops = side(setting), step_flops(setting)
        row = share_of_gemm_peak(training.call, training.runs * setting.steps * flops, repeats)
        steps_per_second = row.ours / flops
        table.add_row(
            setting.name,
            f"{setting.batch_size}",
            f"{setting.steps:,}",
            f"{steps_per_second / setting.steps:,.2f}",
            f"{1e3 / steps_per_second:.3g}",
            f"{row.ours / 1e9:,.1f}",
            f"{100 * row.ratio:.1f} %",
        )
    console.print(table)
    table = Table("training with Adam", "runs/s", "against", "its runs/s", "times faster")
    for setting, name, make in COMPARISONS:
        row = compare(name, side(setting), side(setting._replace(make=make)), repeats)
        table.add_row(setting.name, f"{row.ours:.2f}", name, f"{row.baseline:.2f}", f"{row.ratio:.2f}×")
    console.print(table)


def side(setting: Setting, rounds: int = 1) -> Side:
    """A call in which every device trains its own runs and evaluates nothing, so many times over."""
    # metrics that nobody reads would still be computed: inside a sweep, XLA does not see that
    workload = setting.make()._replace(evaluate=lambda params, data: {})
    rates = jnp.full((len(jax.devices()) * setting.vectorize * rounds, setting.steps), 1e-3)
    return sweep_side(workload, optax.adam, rates, setting.batch_size, setting.vectorize, read="params")


def step_flops(setting: Setting) -> int:
    """FLOPs of the products and convolutions in the gradient of one batch's loss."""
    workload, key = setting.make(), jax.random.key(0)
    params = jax.eval_shape(workload.init, key)
    rows = jax.eval_shape(lambda: workload.indices(key, setting.batch_size, 1)[0])
    batch = jax.eval_shape(workload.batch, workload.data, rows)
    return matrix_flops(jax.grad(workload.loss), params, batch, key)
