"""Candidates that a model of curves chooses from: of all families, each with its curve."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from schedules.family import Family
from schedules.search.curve_model import CurveModel
from schedules.search.trial import Candidate, SearchSpace

SPREADS = (0.2, 0.05)  # of the neighbours, on each axis of the cube
NEIGHBOURS = 12  # of a parent, at each spread
CHUNK = 64  # curves that a compiled program computes

Place = tuple[str, Float[np.ndarray, " _"]]  # a family and a point of its cube


class Pool(NamedTuple):
    """Candidates that may be run: the family and the point of each in its cube, and its curve."""

    names: tuple[str, ...]
    points: tuple[Float[np.ndarray, " _"], ...]
    curves: Float[np.ndarray, "candidates *groups steps"]

    @property
    def places(self) -> list[Place]:
        return list(zip(self.names, self.points, strict=True))

    def at(self, numbers: Sequence[int]) -> "Pool":
        """Those of its candidates."""
        names, points = (tuple(part[number] for number in numbers) for part in self[:2])
        return Pool(names, points, self.curves[list(numbers)])

    def with_all(self, other: "Pool") -> "Pool":
        curves = np.concatenate([self.curves, other.curves])
        return Pool(self.names + other.names, self.points + other.points, curves)


def places_of(spaces: Mapping[str, SearchSpace], candidates: Iterable[Candidate]) -> list[Place]:
    """Where candidates stand in the cubes of their families."""
    return [
        (candidate.family.name, spaces[candidate.family.name].point(candidate)) for candidate in candidates
    ]


def pool_of(
    spaces: Mapping[str, SearchSpace],
    parents: Sequence[Place],
    drawn: int,
    num_steps: int,
    generator: np.random.Generator,
) -> Pool:
    """So many draws of each family, and neighbours of the parents."""
    names, points, curves = [], [], []
    for name, space in spaces.items():
        neighbours = [
            point + spread * generator.standard_normal((NEIGHBOURS, space.dimensions))
            for family, point in parents
            if family == name
            for spread in SPREADS
        ]
        cube = np.concatenate([generator.random((drawn, space.dimensions)), *neighbours])
        cube = np.clip(cube, 0, 1).astype(np.float32)
        names += [name] * len(cube)
        points += list(cube)
        curves.append(curves_at(space, cube, num_steps))
    return Pool(tuple(names), tuple(points), np.concatenate(curves))


def neighbours_of(
    spaces: Mapping[str, SearchSpace], pool: Pool, count: int, spread: float, generator: np.random.Generator
) -> Pool:
    """So many neighbours of each candidate, which differ on some half of its axes."""
    num_steps = pool.curves.shape[-1]
    names, points, curves = [], [], []
    for name in dict.fromkeys(pool.names):
        own = np.stack([point for family, point in pool.places if family == name])
        cube = np.repeat(own, count, axis=0)
        moves = spread * generator.standard_normal(cube.shape) * (generator.random(cube.shape) < 0.5)
        cube = np.clip(cube + moves, 0, 1).astype(np.float32)
        names += [name] * len(cube)
        points += list(cube)
        curves.append(curves_at(spaces[name], cube, num_steps))
    return Pool(tuple(names), tuple(points), np.concatenate(curves))


def promising(model: CurveModel, pool: Pool, size: int, key: PRNGKeyArray) -> list[int]:
    """Places in a pool: of the lowest mean, and of the lowest level under each of size - 1 drawn functions
    that no other one took."""
    chosen: list[int] = []
    for levels in (model.means(pool.curves), *model.sample(pool.curves, key, size - 1)):
        levels[chosen] = np.inf
        chosen.append(int(np.argmin(levels)))
    return chosen


def proposals_at(
    spaces: Mapping[str, SearchSpace], pool: Pool, places: Sequence[int]
) -> list[dict[str, Any]]:
    """The candidates at places of a pool, as JSON values that hold every bit."""
    return [
        {"family": pool.names[place], **spaces[pool.names[place]].proposals(pool.points[place][None])[0]}
        for place in places
    ]


def curves_at(
    space: SearchSpace, points: Float[np.ndarray, "points dims"], num_steps: int
) -> Float[np.ndarray, "points *groups steps"]:
    """The learning rates of every step at points of a space's cube."""
    padded = np.pad(points, ((0, -len(points) % CHUNK), (0, 0)))
    chunks = []
    for chunk in padded.reshape(-1, CHUNK, space.dimensions):  # all of one size, for each is compiled
        rates = np.asarray(space.learning_rates.from_unit(chunk[:, -1]))
        multipliers = np.asarray(_multipliers(space.family, num_steps, chunk[:, :-1]))
        chunks.append(np.expand_dims(rates, tuple(range(1, multipliers.ndim))) * multipliers)
    return np.concatenate(chunks)[: len(points)]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _multipliers(
    family: Family, num_steps: int, points: Float[Array, "points dims"]
) -> Float[Array, "points *groups steps"]:
    x = jnp.arange(num_steps, dtype=float) / float(num_steps)
    return jax.vmap(lambda params: family.curve_at(x, params))(family.from_unit(points))
