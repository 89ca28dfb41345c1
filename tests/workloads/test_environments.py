"""Training in several environments: what a batch holds, what is descended on, and what it leads to."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import contract_problems, run_keys, train
from workloads.datasets.coloured_digits import load_coloured_digits
from workloads.environments import over_environments
from workloads.images import MLP
from workloads.invariance import irm

MODEL = MLP(num_classes=2, hidden=(8,))


@pytest.fixture(scope="module")
def data():
    return load_coloured_digits()


def test_it_keeps_the_contract_of_a_workload(data):
    assert contract_problems(over_environments(data, MODEL), batch_size=16) == []


def test_a_batch_holds_the_same_places_of_every_environment_and_the_loss_is_the_objective_of_its_logits(data):
    workload = over_environments(data, MODEL, partial(irm, weight=3.0))
    params, places = workload.init(jax.random.key(0)), np.array([5, 700, 2, 41])
    images, labels = workload.batch(workload.data, jnp.asarray(places))
    np.testing.assert_array_equal(images, data.train_images[:, places])
    np.testing.assert_array_equal(labels, data.train_labels[:, places])
    logits = jnp.stack([MODEL.apply(params, environment) for environment in images])
    expected = irm(logits, labels, weight=3.0)
    found = workload.loss(params, (images, labels), jax.random.key(1))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_an_epoch_sees_every_place_once(data):
    rows = over_environments(data, MODEL).indices(jax.random.key(0), 2, 359)
    assert sorted(np.ravel(rows)) == list(range(718))


def test_least_mean_risk_trusts_colour_and_is_wrong_where_it_is_turned_round(data):
    workload = over_environments(data, MODEL)
    run = jax.jit(
        lambda data, keys: train(
            workload, data, optax.adam, jnp.full(150, 1e-2), keys, batch_size=64, evaluate_at=(150,)
        )
    )(workload.data, run_keys(jax.random.key(2)))
    assert float(run.metrics["train_error"][0]) < 0.2  # colour alone: .15
    assert float(run.metrics["test_error"][0]) > 0.5  # colour alone: .90
