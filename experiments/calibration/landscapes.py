"""Simulated training: the level of a run is a known function of its curve, plus a seed's luck and its own.

A level is the logarithm of a score, or the score itself.
"""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from schedules import FAMILIES, Interval
from schedules.search import Candidate, SearchSpace, Trial
from schedules.search.pool import Place, curves_at, pool_of
from workloads.linear_regression import expected_losses, power_law_spectrum

NUM_STEPS = 20
RATES = Interval(1e-2, 1.0, log=True)
SMALLEST = 2e-3  # a learning rate below it is as good as none
SEED, NOISE = 0.1, 0.05  # standard deviations of the luck that a seed's runs share, and of each run's own
FEATURES = 400  # of a function that stands for a Gaussian process
DRAWN = 1_000  # curves of a family, among which descents begin
DESCENTS = 6  # in a family, at most
STEP = 1e-3  # of the differences that a slope is taken from, in the unit cube
HIGHEST = 50.0  # level that a descent knows

Levels = Callable[[Float[np.ndarray, "curves steps"]], Float[np.ndarray, "curves"]]


def spaces(*names: str) -> dict[str, SearchSpace]:
    return {name: SearchSpace(FAMILIES[name], RATES) for name in names}


SEARCHED = MappingProxyType(spaces("linear", "wsd"))
ALL = MappingProxyType(spaces("linear", "wsd", "free"))


def bowl(generator: np.random.Generator) -> Levels:
    """The squared distance of the logarithms from those of a `free` curve."""
    space = ALL["free"]
    point = generator.random((1, space.dimensions), np.float32)
    point[0, -1] = 0.3 + 0.4 * point[0, -1]  # of the learning rates, the middle
    best = _logarithms(curves_at(space, point, NUM_STEPS))
    return lambda curves: 0.1 * np.sum((_logarithms(curves) - best) ** 2, axis=1)


def process(generator: np.random.Generator) -> Levels:
    """A draw of a Gaussian process: squared-exponential or Matérn-5/2, amplitude 0.2 to 1 and length scales
    around 1.2 to 9 nats, where the model expects 3."""
    centre, amplitude = np.exp(generator.uniform(np.log([1.2, 0.2]), np.log([9.0, 1.0])))
    lengths = centre * np.exp(0.4 * generator.standard_normal(10))
    frequencies = generator.standard_normal((10, FEATURES)) / lengths[:, None]
    if generator.random() < 0.5:
        frequencies /= np.sqrt(generator.chisquare(5, FEATURES) / 5)
    phases, scale = generator.uniform(0, 2 * np.pi, FEATURES), amplitude * np.sqrt(2 / FEATURES)
    return lambda curves: scale * np.cos(_logarithms(curves) @ frequencies + phases).sum(axis=1)


def regression(generator: np.random.Generator) -> Levels:
    """The logarithm of the expected loss of linear regression; spectrum and batch size are drawn."""
    batch_size, dimension = int(generator.choice([1, 4, 16])), int(generator.choice([20, 50, 100]))
    spectrum = power_law_spectrum(dimension, generator.uniform(0.6, 2.0))
    factor = np.exp(generator.uniform(-1, 1)) * batch_size**0.3

    def levels(curves: Float[np.ndarray, "curves steps"]) -> Float[np.ndarray, "curves"]:
        padded = np.pad(np.float32(factor * curves), ((0, -len(curves) % 64), (0, 0)))
        chunks = [_losses(chunk, spectrum, batch_size) for chunk in padded.reshape(-1, 64, NUM_STEPS)]
        values = np.concatenate(chunks)[: len(curves)].astype(float)
        return np.where(np.isfinite(values), values, np.inf)

    return levels


KINDS: Mapping[str, Callable[[np.random.Generator], Levels]] = MappingProxyType(
    {"bowl": bowl, "Gaussian process": process, "linear regression": regression}
)


class Landscape(NamedTuple):
    """One of a kind; its scores are positive, or have any sign."""

    kind: str
    number: int
    positive: bool
    levels: Levels

    @classmethod
    def of(cls, kind: str, number: int, positive: bool) -> "Landscape":
        return cls(kind, number, positive, KINDS[kind](np.random.default_rng([number, *kind.encode()])))

    def level(self, candidate: Candidate) -> float:
        """With typical luck."""
        return float(self.levels(Trial("truth", candidate, NUM_STEPS, 0).learning_rates[None])[0])

    def evaluate(self, trials: Sequence[Trial]) -> dict[Trial, float]:
        levels = self.levels(np.stack([trial.learning_rates for trial in trials]))
        lucks = [
            SEED * self._normal(trial.stage, trial.replicate) + NOISE * self._normal(trial.identity)
            for trial in trials
        ]
        noisy = levels + lucks
        scores = 0.1 * np.exp(noisy) if self.positive else noisy - 1.0
        return dict(zip(trials, scores.tolist(), strict=True))

    def lowest(self, starts: Sequence[Place]) -> float:
        """The level of the best curve of all families: by descents from the best of many draws and from
        neighbours of the starts."""
        pool = pool_of(ALL, starts, DRAWN, NUM_STEPS, np.random.default_rng(self.number))
        order, places = np.argsort(self.levels(pool.curves), kind="stable"), pool.places
        places = [places[place] for place in order]
        return min(
            self._descended(name, point)
            for name in ALL
            for point in [point for family, point in places if family == name][:DESCENTS]
        )

    def _descended(self, name: str, start: Float[np.ndarray, "dims"]) -> float:
        def slopes(point: Float[np.ndarray, "dims"]) -> tuple[float, Float[np.ndarray, "dims"]]:
            step = np.where(point + STEP > 1, -STEP, STEP)
            points = np.concatenate([point[None], point + np.diag(step)]).astype(np.float32)
            levels = np.minimum(self.levels(curves_at(ALL[name], points, NUM_STEPS)), HIGHEST)
            return levels[0], (levels[1:] - levels[0]) / step

        bounds = [(0, 1)] * len(start)
        return minimize(slopes, start.astype(float), jac=True, method="L-BFGS-B", bounds=bounds).fun

    def _normal(self, *names: object) -> float:
        """A standard normal number, the same for the same names."""
        return np.random.default_rng(zlib.crc32(repr((self.kind, self.number, *names)).encode())).normal()


def _logarithms(curves: Float[np.ndarray, "curves steps"]) -> Float[np.ndarray, "curves tenths"]:
    return np.log(curves.astype(float).reshape(len(curves), 10, -1).mean(axis=2) + SMALLEST)


@functools.partial(jax.jit, static_argnums=2)
def _losses(curves, spectrum, batch_size):
    return jnp.log(jax.vmap(lambda rates: expected_losses(rates, spectrum, batch_size)[-1])(curves))
