"""What is trained: digits by networks of several shapes, regressions of a matrix by several spectra, and text
by transformers of several sizes."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import workloads
from experiments.study.training.programs import Row
from schedules.search import named_key
from workloads import Workload, epoch_indices
from workloads.datasets.labels import NUM_CLASSES
from workloads.images import MLP, classification

IMAGES = 1437  # of the digits that are trained on
INPUTS, OUTPUTS, EXAMPLES = 48, 32, 512  # of a regression
HEADS, CONTEXT = 2, 32  # of a transformer
LOSS = "train_loss"  # the metric that all kinds of problem have


class Digits(NamedTuple):
    """The digits, by a network with hidden layers of these widths."""

    hidden: tuple[int, ...]
    batch_size: int

    unit = 1.0  # of learning rates

    @property
    def name(self) -> str:
        """
        >>> Digits((32, 128), 16).name
        'digits 32-128, batch 16'
        """
        return f"digits {'-'.join(map(str, self.hidden))}, batch {self.batch_size}"

    @property
    def program(self) -> str:
        """What it shares with others that differ in numbers alone."""
        return self.name

    @property
    def numbers(self) -> Mapping[str, float]:
        return {}

    @property
    def data(self) -> PyTree:
        """What all runs share."""
        return workloads.load("digits").data

    def workload(self, row: Row, data: PyTree) -> Workload:
        """That of one run, which trains on its data."""
        return classification(data, MLP(NUM_CLASSES, self.hidden))


class Regression(NamedTuple):
    """A regression of a matrix; see `matrix_regression`."""

    condition: float
    rank: int
    batch_size: int

    unit = 8.0

    @property
    def name(self) -> str:
        return f"regression κ={self.condition:g}, rank {self.rank}"

    @property
    def program(self) -> str:
        return "regression"

    @property
    def numbers(self) -> Mapping[str, float]:
        return {"condition": self.condition, "rank": float(self.rank)}

    @property
    def data(self) -> PyTree:
        return ()

    def workload(self, row: Row, data: PyTree) -> Workload:
        return matrix_regression(named_key(row["key"], "data"), row["condition"], row["rank"])


class Text(NamedTuple):
    """The characters of Shakespeare's plays, by a transformer of two heads on blocks of 32."""

    width: int
    layers: int
    batch_size: int

    unit = 1.0

    @property
    def name(self) -> str:
        """
        >>> Text(32, 2, 16).name
        'text 2 layers of 32, batch 16'
        """
        return f"text {self.layers} layer{'s' * (self.layers > 1)} of {self.width}, batch {self.batch_size}"

    @property
    def program(self) -> str:
        return self.name

    @property
    def numbers(self) -> Mapping[str, float]:
        return {}

    @property
    def data(self) -> PyTree:
        return self._loaded().data

    def workload(self, row: Row, data: PyTree) -> Workload:
        return self._loaded()._replace(data=data)

    def _loaded(self) -> Workload:
        return workloads.load(
            "shakespeare", width=self.width, layers=self.layers, heads=HEADS, context=CONTEXT
        )


Problem = Digits | Regression | Text


def matrix_regression(key: PRNGKeyArray, condition: ArrayLike, rank: ArrayLike) -> Workload:
    """½‖x (W - W*)‖² over 512 rows x, from W = 0, with W* of 48 × 32 known by its outputs alone.

    x ~ N(0, Q Λ Qᵀ) with Q random orthogonal and λ from 1 to 1/κ, evenly in the logarithm; W* = A Bᵀ with A
    and B of so many columns, whose entries are normal, of a variance that makes E‖W*‖² the number of outputs.

    Args:
      key: draws Q, the rows, A and B.
      condition: κ, at least 1; it may be traced.
      rank: of W*, in [1, 32]; it may be traced.
    """
    row_key, basis_key, in_key, out_key = jax.random.split(key, 4)
    deviations = jnp.asarray(condition, float) ** (-jnp.arange(INPUTS) / (2 * (INPUTS - 1)))
    basis = jax.random.orthogonal(basis_key, INPUTS)
    rows = (jax.random.normal(row_key, (EXAMPLES, INPUTS)) * deviations[None, :]) @ basis.T
    factors = (jax.random.normal(k, (n, OUTPUTS)) for k, n in ((in_key, INPUTS), (out_key, OUTPUTS)))
    chosen = jnp.arange(OUTPUTS) < rank
    wide, tall = factors
    target = (wide * chosen[None, :]) @ tall.T / jnp.sqrt(rank * INPUTS)
    model = nn.Dense(OUTPUTS, use_bias=False, kernel_init=nn.initializers.zeros)

    def half_squares(params: PyTree, batch: tuple[Array, Array]) -> Float[Array, ""]:
        inputs, outputs = batch
        return jnp.mean(jnp.sum((model.apply(params, inputs) - outputs) ** 2, axis=-1)) / 2

    return Workload(
        data=(rows, rows @ target),
        init=lambda key: model.init(key, jnp.zeros((1, INPUTS))),
        indices=lambda key, batch_size, num_steps: epoch_indices(key, EXAMPLES, batch_size, num_steps),
        batch=lambda data, indices: jax.tree.map(lambda leaf: leaf[indices], data),
        loss=lambda params, batch, key: half_squares(params, batch),
        evaluate=lambda params, data: {LOSS: half_squares(params, data)},
    )
