"""CMA-ES: points from a normal distribution that learns from each generation where and how to look.

The distribution is the `cmaes` library's. It is told the ranks of a generation's scores: the method looks at
nothing else, but the library would stop at a spread that is tiny in its eyes, whatever the metric's unit. As
its object is no state to keep, it is told the whole history again at each ask. A search that has contracted
starts anew elsewhere with twice the population (IPOP). Source: Hansen (2016), arXiv:1604.00772; Auger and
Hansen (2005), doi:10.1109/CEC.2005.1554902.
"""

import math
from itertools import repeat

import numpy as np
import scipy
from cmaes import CMA
from jaxtyping import Float

from schedules.search.batches import first_new, whole_batches
from schedules.search.keys import named_key
from schedules.search.strategy import History, Strategy, numpy_generator, strategy_of

SPREAD = 0.3  # the first standard deviation on each axis
SMALLEST = 1e-4  # a generation within a cube of this side has contracted


def cmaes_search(dimensions: int, batch: int) -> Strategy:
    """Points from the distribution of CMA-ES, whose generations are whole batches."""

    def ask(history: History) -> Float[np.ndarray, "batch dims"]:
        library = _told(history, batch)
        seeds = numpy_generator(named_key(history.key, "batch", len(history.points)))
        library.reseed_rng(int(seeds.integers(2**32)))
        return first_new(history.points, (library.ask() for _ in repeat(None)), batch)

    return strategy_of(dimensions, ask)


def _told(history: History, batch: int) -> CMA:
    """The library once it was told every whole generation of the history."""
    start = doublings = 0
    library = _begun(history, start, batch, doublings)
    while (end := start + library.population_size) <= len(history.points):
        points = history.points[start:end].astype(np.float64)
        library.tell(
            list(zip(points, scipy.stats.rankdata(history.scores[start:end], method="min"), strict=True))
        )
        start = end
        if library.should_stop() or np.max(np.ptp(points, axis=0)) < SMALLEST:
            doublings += 1
            library = _begun(history, start, batch, doublings)
    return library


def _begun(history: History, start: int, batch: int, doublings: int) -> CMA:
    """The library at the beginning of a search: the first one in the middle, others anywhere."""
    dimensions = history.points.shape[1]
    least = (4 + int(3 * math.log(dimensions))) * 2**doublings  # the library's default, doubled
    anywhere = numpy_generator(named_key(history.key, "mean", start)).random(dimensions)
    return CMA(
        mean=anywhere if doublings else np.full(dimensions, 0.5),
        sigma=SPREAD,
        bounds=np.tile([0.0, 1.0], (dimensions, 1)),
        population_size=whole_batches(least, batch),
    )
