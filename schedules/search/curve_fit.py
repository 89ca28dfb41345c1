"""The parameters of a model of curves, at the maximum of their posterior.

See `schedules.search.curve_model`.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from schedules.search.blas import by_strips
from schedules.search.curve_runs import SEGMENTS, Runs

ITERATIONS = 60
JITTER = 1e-9  # relative to the amplitude's square, on the diagonal of what is factorised
WIDEST = 6.0  # spreads of the prior that a parameter may lie from its centre
# of the logarithms of a, τ, σ and every ℓ: centre and spread of the normal prior
AMPLITUDE, SEED, NOISE, LENGTH = (-0.7, 1.0), (-2.3, 1.0), (-1.9, 1.0), (1.1, 0.6)
OWN = 0.3  # the spread of a segment's ℓ about what all of its group share
MEAN = (0.0, 1.0)  # of the ℓ of another group's mean: √10 of it are a segment's
CONSTANT = 1.0  # the prior variance κ of the level that all curves share


class Parameters(NamedTuple):
    """Of a model, as in its formula: a, τ, σ and the length scales, in nats of the learning rate."""

    amplitude: float
    seed: float
    noise: float
    lengths: Float[np.ndarray, "axes"]

    @classmethod
    def of(cls, logarithms: Float[np.ndarray, "parameters"]) -> "Parameters":
        amplitude, seed, noise = np.exp(logarithms[:3]).tolist()
        return cls(amplitude, seed, noise, np.exp(logarithms[3:]))

    @property
    def logarithms(self) -> Float[np.ndarray, "parameters"]:
        return np.log([*self[:3], *self.lengths])

    def covariance(
        self, places: Float[np.ndarray, "rows axes"], others: Float[np.ndarray, "columns axes"]
    ) -> Float[np.ndarray, "rows columns"]:
        """Of the latent values at places."""
        return by_strips(lambda strip: self.kernel(places[strip], others)[0], len(places))

    def kernel(
        self, places: Float[np.ndarray, "rows axes"], others: Float[np.ndarray, "columns axes"]
    ) -> tuple[Float[np.ndarray, "rows columns"], ...]:
        """The same, of few places, with r = √5·|(z - z')/ℓ| and a²·e^(-r)."""
        scale = np.sqrt(5) / self.lengths
        r, scaled = scale * places, scale * others
        squares = np.sum(r**2, axis=1, keepdims=True)
        r = r @ (-2 * scaled.T)  # |z|² - 2zz' + |z'|², in place: most time goes to memory
        r += squares
        r += np.sum(scaled**2, axis=1)
        np.sqrt(np.maximum(r, 0, out=r), out=r)
        decay = self.amplitude**2 * np.exp(-r)
        latent = r / 3
        latent += 1
        latent *= r
        latent += 1
        latent *= decay
        latent += CONSTANT
        return latent, r, decay

    def root(self, runs: Runs) -> Float[np.ndarray, "means means"]:
        """The lower Cholesky factor of the covariance of the means."""
        return self.factor(self.covariance(runs.places, runs.places), runs)

    def factor(
        self, latent: Float[np.ndarray, "means means"], runs: Runs
    ) -> Float[np.ndarray, "means means"]:
        """The same from the covariance of the latent values, which it overwrites."""
        latent += (self.seed**2 * runs.shares) @ runs.shares.T
        latent[np.diag_indices_from(latent)] += self.noise**2 / runs.counts + JITTER * self.amplitude**2
        return cholesky(latent.T, lower=True, overwrite_a=True, check_finite=False)


def prior(
    axes: int,
) -> tuple[Float[np.ndarray, "parameters"], Float[np.ndarray, "parameters parameters"]]:
    """Mean and covariance of the parameters' logarithms. A group's length scales are long or short together:
    what the curves that were run tell of some segments is to hold for those in which they hardly differ."""
    others = [MEAN, *[LENGTH] * SEGMENTS] * (axes // SEGMENTS - 1)
    centre, spread = np.array([AMPLITUDE, SEED, NOISE, *[LENGTH] * SEGMENTS, *others]).T
    covariance = np.diag(spread**2)
    for start in range(3, len(centre), SEGMENTS + 1):
        group = slice(start, start + SEGMENTS)
        covariance[group, group] = LENGTH[1] ** 2 + OWN**2 * np.eye(SEGMENTS)
    return centre, covariance


def most_probable(runs: Runs) -> Parameters:
    """The parameters at the maximum of their posterior."""
    centre, covariance = prior(runs.places.shape[1])
    widest = WIDEST * np.sqrt(np.diag(covariance))
    found = minimize(
        functools.partial(minus_log_posterior, runs=runs, centre=centre, precision=np.linalg.inv(covariance)),
        centre,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(centre - widest, centre + widest, strict=True)),
        options={"maxiter": ITERATIONS},
    )
    return Parameters.of(found.x)


def minus_log_posterior(
    logarithms: Float[np.ndarray, "parameters"],
    runs: Runs,
    centre: Float[np.ndarray, "parameters"],
    precision: Float[np.ndarray, "parameters parameters"],
) -> tuple[float, Float[np.ndarray, "parameters"]]:
    """Of the parameters' logarithms, but for a constant, with its gradient.

    ∂/∂p = ½ Σ G ∘ ∂K/∂p with G = K⁻¹ - K⁻¹vvᵀK⁻¹; for a length scale ∂K/∂log ℓ is a²·5/3·(1 + r)e^(-r) times
    the squared distance along its axis, whose sum needs matrix products alone.
    """
    parameters = Parameters.of(logarithms)
    scaled = runs.places / parameters.lengths
    latent, r, decay = parameters.kernel(runs.places, runs.places)
    varied = latent - CONSTANT
    root = parameters.factor(latent, runs)
    weights = cho_solve((root, True), runs.values)
    inner, _ = dpotri(root, lower=True)  # a triangle of the inverse
    inner += np.tril(inner, -1).T
    inner -= np.outer(weights, weights)
    bent = 5 / 3 * inner * decay * (1 + r)
    gradient = np.concatenate(
        [
            [np.vdot(inner, varied) + JITTER * parameters.amplitude**2 * np.trace(inner)],
            [parameters.seed**2 * np.sum(runs.shares * (inner @ runs.shares))],
            [parameters.noise**2 * np.sum(np.diag(inner) / runs.counts)],
            bent.sum(axis=1) @ scaled**2 - np.sum(scaled * (bent @ scaled), axis=0),
        ]
    )
    pull = precision @ (logarithms - centre)
    loss = runs.values @ weights / 2 + np.sum(np.log(np.diag(root))) + pull @ (logarithms - centre) / 2
    return loss, gradient + pull
