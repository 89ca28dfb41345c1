"""What the tests of the schedules share: float64 NumPy references from the specification, and draws.

The references are written from the formulas of the specification in terms of u and t/W, with SciPy's
interpolators, and know nothing of the code under test but the names of families and parameters.
"""

import functools

import jax
import numpy as np
import pytest
from hypothesis import settings
from scipy.interpolate import PchipInterpolator
from threadpoolctl import threadpool_limits

from schedules import FAMILIES

settings.register_profile("schedules", deadline=None, derandomize=True, database=None)
settings.load_profile("schedules")

RATE = 5.0  # of the exponential warm-up and decay
WARMUPS = {
    "linear": lambda r: r,
    "cosine": lambda r: (1 - np.cos(np.pi * r)) / 2,
    "exponential": lambda r: (1 - np.exp(-RATE * r)) / (1 - np.exp(-RATE)),
    "polynomial": lambda r: r**2,
}
WSD_DECAYS = {  # from 1 to 0 over a fraction q of the decay
    "linear": lambda q: 1 - q,
    "1-sqrt": lambda q: 1 - np.sqrt(q),
    "cosine": lambda q: (1 + np.cos(np.pi * q)) / 2,
    "mirrored_cosine": lambda q: 2 * (1 - q) - (1 + np.cos(np.pi * q)) / 2,
    "square": lambda q: 1 - q**2,
    "exponential": lambda q: (np.exp(-RATE * q) - np.exp(-RATE)) / (1 - np.exp(-RATE)),
}


def _half_cosine(u):
    return (1 + np.cos(np.pi * u)) / 2


def _wsd(u, decay, floor, decay_form="linear"):
    q = np.clip((u - (1 - decay)) / decay, 0, 1)
    return floor + (1 - floor) * WSD_DECAYS[decay_form](q)


def _hold_power(u, hold, exponent, floor):
    q = np.clip((u - hold) / (1 - hold), 0, 1)
    return floor + (1 - floor) * (1 - q**exponent)


def _knots(u, **levels):
    knots = [0, 0.026, 0.04, 0.051, 0.065, 0.077, 0.21, 0.53, 0.82, 0.95, 1]
    return _scipy_pchip(knots, [1.0, *(levels[f"level_{k}"] for k in range(1, len(knots)))], u)


DECAYS = {
    "constant": lambda u: np.ones_like(u),
    "cosine": lambda u, floor=0.0: floor + (1 - floor) * _half_cosine(u),
    "generalized_cosine": lambda u, exponent: _half_cosine(u) ** exponent,
    "cosine_floor": lambda u, floor: floor + (1 - floor) * _half_cosine(u),
    "sqrt": lambda u, a: (1 - u**2) ** (a / 2),
    "rex": lambda u, beta: (1 - u) / (1 - (1 - beta) * u),
    "linear": lambda u: 1 - u,
    "power": lambda u, exponent: (1 - u) ** exponent,
    "inverse_sqrt": lambda u, timescale: 1 / np.sqrt(1 + u / timescale),
    "exponential": lambda u, rate: np.exp(-rate * u),
    "wsd": _wsd,
    "hold_power": _hold_power,
    "knots": _knots,
}


def _warmed_up(fall, x, warmup, warmup_form="linear", **others):
    rising = x < warmup
    curve = np.empty_like(x)
    curve[rising] = WARMUPS[warmup_form](x[rising] / warmup)
    curve[~rising] = fall((x[~rising] - warmup) / (1 - warmup), **others)
    return curve


def _two_point(interpolate, x, x0, y1, dx1, dx2, dy2, y_end=0.0):
    x1 = x0 + dx1 * (1 - x0)
    x2 = x1 + dx2 * (1 - x1)
    y2 = dy2 * y1
    decay = interpolate([x0, x1, x2, 1.0], [1.0, y1, y2, y_end * y2], np.maximum(x, x0))
    return np.where(x < x0, x / x0, decay)


def _smooth_nonmonotonic(x, y_start, y_end, x_peak, y1, dx1, y2, dx2):
    x2 = dx1 + (1 - dx1) * dx2
    knots = sorted([(0.0, y_start), (dx1, y1), (x2, y2), (x_peak, 1.0), (1.0, y_end)])
    return _scipy_pchip(*zip(*knots, strict=True), x)


def _scipy_pchip(knots, values, x):
    return PchipInterpolator(knots, values)(x)


def _polygon(knots, values, x):
    return np.interp(x, knots, values)


def _free(x, **levels):
    values = np.array([levels[f"level_{k}"] for k in range(8)])
    return _scipy_pchip(np.arange(8) / 7, values / values.max(), x)


CURVES = {name: functools.partial(_warmed_up, decay) for name, decay in DECAYS.items()} | {
    "two_point_linear": functools.partial(_two_point, _polygon),
    "two_point_spline": functools.partial(_two_point, _scipy_pchip),
    "two_point_spline_floor": functools.partial(_two_point, _scipy_pchip),
    "smooth_nonmonotonic": _smooth_nonmonotonic,
    "free": _free,
}


@pytest.fixture(scope="session")
def reference():
    """(family's name, x, params, **options) → the multipliers in float64."""
    return lambda name, x, params, **options: CURVES[name](np.asarray(x, np.float64), **params, **options)


@pytest.fixture(scope="session")
def draw():
    """(family's name, seed) → shape parameters inside the search space that float32 can represent."""

    def drawn(name, seed):
        rng = np.random.default_rng(seed)
        params = {}
        for parameter, interval in FAMILIES[name].space.items():
            low, high = (
                np.log([interval.low, interval.high]) if interval.log else (interval.low, interval.high)
            )
            value = rng.uniform(low, high)
            params[parameter] = float(np.float32(np.exp(value) if interval.log else value))
        return params

    return drawn


LARGEST = 1e6  # of a parameter whose domain has no end
EXTREMES = [float(np.float32(v)) for v in (1e-45, 1e-38, 1e-30, 2**-24, 2**-23, 1e-3, 0.25, 0.5, 1 - 2**-23)]
EXTREMES += [0.0, 1 - 2**-24, 1.0, 7.0, LARGEST]


EXAMPLES = 256  # of a family's parameters, which one program computes


def _anywhere(interval, rng):
    """Extremes, and numbers that are uniform or have uniform logarithms."""
    edges = rng.choice([value for value in EXTREMES if value in interval], EXAMPLES)
    high = min(interval.high, LARGEST)
    uniform = rng.uniform(interval.low, high, EXAMPLES)
    logarithmic = np.exp(rng.uniform(np.log(1e-45), np.log(high), EXAMPLES))
    drawn = np.choose(rng.integers(0, 4, EXAMPLES), [edges, edges, uniform, logarithmic]).astype(np.float32)
    return np.where([value in interval for value in drawn.tolist()], drawn, np.float32(edges))


def _over_the_domain(family):
    rng = np.random.default_rng(0)
    params = {name: _anywhere(interval, rng) for name, interval in family.domain.items()}
    if family.name == "smooth_nonmonotonic":  # the peak of half of them on another knot, or beside it
        places = params["dx1"] + rng.integers(-2, 3, EXAMPLES) * 2**-24
        neighbours = np.float32(np.clip(places, 1e-30, 1 - 2**-24))
        params["x_peak"] = np.where(rng.random(EXAMPLES) < 0.5, neighbours, params["x_peak"])
    return params


@pytest.fixture(scope="session")
def anywhere():
    """family → shape parameters over its whole domain, its ends included: `EXAMPLES` of each."""
    return functools.cache(_over_the_domain)


@functools.cache
def _family(name, options):
    return FAMILIES[name].with_options(**dict(options)) if options else FAMILIES[name]


@pytest.fixture(scope="session")
def family_of():
    """(name, options) → the same object each time, so that it compiles once for all tests."""
    return lambda name, options: _family(name, tuple(options.items()))


@functools.cache
def _compiled(family):
    return jax.jit(jax.vmap(family.curve_at))


@pytest.fixture(scope="session")
def curves():
    """(family, at most 600 points x for each of at most `EXAMPLES` shapes, their params) → the continuous
    curves at x in float32, compiled once."""

    def evaluated(family, x, params):
        padded = np.zeros((EXAMPLES, 600), np.float32)
        padded[: len(x), : len(x[0])] = x
        params = {name: np.resize(np.float32(values), EXAMPLES) for name, values in params.items()}
        return np.asarray(_compiled(family)(padded, params))[: len(x), : len(x[0])]

    return evaluated


@pytest.fixture(scope="module")
def one_thread():
    """Linear algebra on one thread: of small matrices it is sooner done, and the same on all machines."""
    with threadpool_limits(1, "blas"):
        yield
