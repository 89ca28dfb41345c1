"""Every measure against plain NumPy in float64, and what it must not, or must, change with."""

import functools
import re

import jax
import numpy as np
import pytest

from geometry.measures import FAMILIES, MEASURES, Network, measured
from tests.geometry.measures.numpy_measures import Reference, measures

WIDTHS = ((3, 8, 2), (5, 4, 4, 3), (5, 4, 4, 3))  # of three networks, two of which share a program
EXAMPLES = 43  # three of which fill no batch
TOLERANCE = 1e-5
QUICKLY = {"xla_backend_optimization_level": 0}  # rather than well compiled
networks = pytest.mark.parametrize("number", range(len(WIDTHS)))


def outputs(params, inputs):
    """The logits of a network whose layers are called by their numbers."""
    x, last = inputs, str(len(params) - 1)
    for name in sorted(params):
        x = x @ params[name]["kernel"] + params[name]["bias"][None]
        x = x if name == last else jax.nn.relu(x)
    return x


def measured_as_given(*network, families=tuple(FAMILIES)):
    return measured(Network(outputs, *network), families)


# the network is no constant of the program
compiled = jax.jit(measured_as_given, static_argnames="families", compiler_options=QUICKLY)


@functools.cache
def case(number):
    """A reference on examples of its own; weights before and after training, and of a twin half done."""
    rng, widths = np.random.default_rng(number), WIDTHS[number]
    labels = rng.integers(widths[-1], size=EXAMPLES)
    centres = 4 * rng.normal(size=(widths[-1], widths[0]))
    inputs = centres[labels] + 0.6 * rng.normal(size=(EXAMPLES, widths[0]))
    reference = Reference(widths, inputs, labels)
    initial, weights = reference.trained(seed=number)
    _, twin = reference.trained(seed=number + 10, steps=2)
    return reference, initial, weights, twin


def tree(reference, weights, dtype=np.float32):
    return {
        str(place): {"bias": np.asarray(bias, dtype), "kernel": np.asarray(kernel, dtype)}
        for place, (bias, kernel) in enumerate(reference.layers(weights))
    }


def network(number, dtype=np.float32):
    reference, initial, weights, twin = case(number)
    params, initial, twin = (tree(reference, w, dtype) for w in (weights, initial, twin))
    inputs, labels = reference.inputs.astype(dtype), reference.labels.astype(np.int32)
    return Network(outputs, params, initial, inputs, labels, twin, jax.random.key(number))


@networks
def test_every_measure_is_numpys(number):
    reference, initial, weights, twin = case(number)
    with jax.enable_x64(True):
        found = compiled(*network(number, float)[1:])
        root = jax.random.key(number)
        keys = {family: jax.random.fold_in(root, place) for place, family in enumerate(FAMILIES)}
        expected = measures(reference, weights, initial, twin, keys)
    assert set(found) == set(expected) == set(MEASURES)
    for name, value in expected.items():
        assert np.isfinite(value)
        assert float(found[name]) == pytest.approx(value, rel=TOLERANCE), name


def test_networks_are_measured_side_by_side_as_alone():
    trained, families = network(0), ("norms", "distances", "paths", "pac_bayes")
    half_trained = jax.tree.map(lambda w, w0: (w + w0) / 2, trained.params, trained.initial)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), trained.params, half_trained)

    mapped = jax.vmap(
        functools.partial(measured_as_given, families=families), in_axes=(0, *[None] * len(trained[2:]))
    )
    side_by_side = jax.jit(mapped, compiler_options=QUICKLY)(stacked, *trained[2:])
    for place, params in enumerate((trained.params, half_trained)):
        single = compiled(params, *trained[2:], families=families)
        for name, value in single.items():
            assert float(side_by_side[name][place]) == pytest.approx(float(value), rel=TOLERANCE), name


def test_a_family_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"families: each must be one of \['norms', .*got 'sharp'"):
        measured(network(0), ["sharp"])


def test_eight_batches_need_eight_examples():
    few = network(0)._replace(labels=np.arange(7), inputs=np.zeros((7, 3)))
    with pytest.raises(ValueError, match="labels: at least 8 examples are needed, got 7"):
        measured(few, ["gradients"])


def test_a_network_that_misses_a_tenth_of_its_examples_has_infinite_measures_over_margin():
    few = network(0)._replace(params=network(0).initial)
    found = compiled(*few[1:], families=("norms", "margins", "paths"))
    infinite = {name for name, value in found.items() if value == np.inf}
    assert infinite == {
        "log_product_spectral_over_margin",
        "log_sum_spectral_over_margin",
        "log_product_frobenius_over_margin",
        "log_sum_frobenius_over_margin",
        "log_spectral_bound_origin",
        "inverse_square_margin",
        "path_norm_over_margin",
    }
    assert all(np.isfinite(value) for name, value in found.items() if name not in infinite)


def test_distances_are_minus_infinity_where_nothing_has_moved():
    found = compiled(*network(0)._replace(initial=network(0).params)[1:], families=("distances",))
    assert set(found) == set(FAMILIES["distances"].measures)
    assert all(value == -np.inf for value in found.values())


def test_every_measure_says_what_it_is_where_it_comes_from_and_what_a_larger_value_means():
    assert len(MEASURES) == sum(len(family.measures) for family in FAMILIES.values()) == 49
    for measure in MEASURES.values():
        assert measure.formula
        assert measure.source == "this module" or re.search(r"arXiv:\d{4}\.\d{5}", measure.source)
        assert measure.sign in (-1, 1)
