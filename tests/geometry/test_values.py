"""Geometries and laws of batch sizes stay themselves through pickles and copies, and in what holds them."""

import copy
import math
import pickle

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry import (
    EUCLIDEAN,
    HYPERBOLA,
    INVERSE,
    INVERSE_ROOT,
    SIGN,
    SPECTRAL,
    BatchLaw,
    Geometry,
    Moments,
    NoiseScale,
    ky_fan,
)

GEOMETRIES = (EUCLIDEAN, SIGN, SPECTRAL, ky_fan(2))
FORMS = (INVERSE_ROOT, INVERSE, HYPERBOLA)
COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "cloudpickle": lambda value: cloudpickle.loads(cloudpickle.dumps(value)),
    "deepcopy": copy.deepcopy,
}
copied = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


@copied
@pytest.mark.parametrize("value", [*GEOMETRIES, *FORMS], ids=lambda value: value.name)
def test_a_copy_is_equal_and_others_are_not(value, copied):
    assert copied(value) == value
    assert hash(copied(value)) == hash(value)
    assert [other for other in (*GEOMETRIES, *FORMS, ky_fan(3)) if copied(value) == other] == [value]


def test_a_geometry_of_ones_own_is_not_taken_for_one_of_the_same_name():
    assert Geometry("euclidean", *([jnp.sum] * 3)) != EUCLIDEAN


@copied
def test_a_noise_scale_gains_by_its_own_formula(copied):
    ratio = (3 / 2) ** 2 / 64
    expected = {EUCLIDEAN: 1 / (1 + ratio), SIGN: (1 - math.sqrt(ratio)) ** 2}
    for geometry, gain in expected.items():
        scale = copied(NoiseScale(jnp.float32(3), jnp.float32(2), geometry))
        assert float(scale.relative_gain(64)) == pytest.approx(gain, rel=1e-6)
        assert float(scale.batch_size_for(gain)) == pytest.approx(64, rel=1e-5)


moments_of = jax.jit(Moments.of)


@copied
def test_moments_estimate_the_scale_of_a_copied_geometry(copied):
    parts = np.random.default_rng(0).normal(1, 1, (4, 5, 3)).astype(np.float32)
    deviations = np.sqrt(8 * parts.var(0, ddof=1) / 4)
    geometries = [copied(geometry) for geometry in (EUCLIDEAN, SIGN, SPECTRAL)]
    estimates = jax.jit(lambda moments: [moments.estimate(8, geometry) for geometry in geometries])
    euclidean, sign, spectral = estimates(copied(moments_of(parts)))
    assert float(euclidean.noise) == pytest.approx(np.linalg.norm(deviations), rel=1e-5)
    assert float(sign.noise) == pytest.approx(deviations.sum(), rel=1e-5)
    nuclear = np.linalg.svd(parts.mean(0), compute_uv=False).sum()
    assert float(spectral.signal) == pytest.approx(nuclear, rel=1e-4)


@copied
@pytest.mark.parametrize(
    ("form", "steps"), [(INVERSE_ROOT, 20.0), (INVERSE, 40 / 3), (HYPERBOLA, 12.5)], ids=lambda v: str(v)
)
def test_a_law_takes_its_own_steps(form, steps, copied):
    law = copied(BatchLaw(form, 10.0, 4.0))
    assert law == BatchLaw(form, 10.0, 4.0)
    assert float(law.steps(16.0)) == pytest.approx(steps, rel=1e-12)
    assert float(law.batch_size(steps)) == pytest.approx(16, rel=1e-12)
