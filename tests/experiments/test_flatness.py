"""The study of flat minima: a run of it by a plain loop in NumPy, what is compared, and the claims."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import special

import workloads
from experiments.flatness.claims import claims
from experiments.flatness.config import GRADIENTS, STEPS, Config, Contestant
from experiments.flatness.runs import Outcome, Results
from experiments.study.training.tuning import Setting
from schedules import FAMILIES
from workloads.images import MLP

TRAIN, VALIDATION, BATCH, WIDTH, RADIUS, FLIPPED = 32, 1600, 16, 3, 0.3, 0.4
LENGTH, LONGEST = 24 // 2, 16  # of sam's runs at equal gradients and at equal steps

pytestmark = pytest.mark.xdist_group("flatness")


def named(key, *names):
    for name in names:
        key = jax.random.fold_in(key, name if isinstance(name, int) else zlib.crc32(name.encode()))
    return key


def examples(key):
    """Images, labels and which are flipped of the three parts: from scikit-learn's digits, by NumPy."""
    data = workloads.load("digits").data
    images = np.concatenate([data.train_images, data.test_images]).reshape(-1, 64).astype(np.float64)
    labels = np.concatenate([data.train_labels, data.test_labels])
    order_key, chance_key, label_key = jax.random.split(named(key, "split"), 3)
    order = np.split(np.asarray(jax.random.permutation(order_key, 1797)), [TRAIN, TRAIN + VALIDATION])
    flipped = np.asarray(jax.random.uniform(chance_key, (TRAIN,))) < FLIPPED
    shift = np.asarray(jax.random.randint(label_key, (TRAIN,), 1, 10))
    train, validation, test = ((images[part], labels[part]) for part in order)
    return (train[0], (train[1] + shift * flipped) % 10), validation, test, flipped


def layers(params, x):
    hidden = x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    return hidden, np.maximum(hidden, 0) @ params["head"]["kernel"] + params["head"]["bias"]


def mean_loss(params, x, labels):
    return -np.mean(special.log_softmax(layers(params, x)[1], axis=1)[range(len(x)), labels])


def errors(params, x, labels):
    return np.argmax(layers(params, x)[1], axis=1) != labels


def slope(params, x, labels):
    """The mean gradient, in the order of the raveled tree."""
    hidden, logits = layers(params, x)
    of_logits = (special.softmax(logits, axis=1) - np.eye(10)[labels]) / len(x)
    of_hidden = (of_logits @ params["head"]["kernel"].T) * (hidden > 0)
    leaves = of_hidden.sum(0), x.T @ of_hidden, of_logits.sum(0), np.maximum(hidden, 0).T @ of_logits
    return np.concatenate([leaf.ravel() for leaf in leaves])


def tree(vector):
    bias, kernel, head_bias, head = np.split(vector, np.cumsum([WIDTH, 64 * WIDTH, 10]))
    return {
        "Dense_0": {"bias": bias, "kernel": kernel.reshape(64, WIDTH)},
        "head": {"bias": head_bias, "kernel": head.reshape(WIDTH, 10)},
    }


def trained_by_a_plain_loop(key, x, labels, rate):
    """SGD with momentum on the gradient uphill by RADIUS of the same batch."""
    init, data, *_ = jax.random.split(named(key, "run"), 5)
    start = jax.jit(MLP(num_classes=10, hidden=(WIDTH,)).init)(init, jnp.zeros((1, 8, 8, 1)))
    vector = np.asarray(ravel_pytree(start["params"])[0], np.float64)
    batches = jax.jit(workloads.epoch_indices, static_argnums=(1, 2, 3))(data, TRAIN, BATCH, LONGEST)
    rates, average = rate * np.asarray(FAMILIES["linear"].multipliers({"warmup": 0.1}, LENGTH)), 0
    for rows, step in zip(np.asarray(batches), rates, strict=False):
        gradient = slope(tree(vector), x[rows], labels[rows])
        uphill = vector + RADIUS * gradient / np.linalg.norm(gradient)
        average = 0.9 * average + slope(tree(uphill), x[rows], labels[rows])
        vector = vector - step * average
    return vector


def calibration_error(params, x, labels):
    p = special.softmax(layers(params, x)[1], axis=1)
    excess = p.max(axis=1) - ~errors(params, x, labels)
    places = np.ceil(15 * p.max(axis=1))
    return sum(abs(excess[places == place].sum()) for place in range(1, 16)) / len(x)


def test_a_run_is_a_plain_training_loop_and_its_measurements_are_numpys(finished_studies, journal_rows):
    rows = journal_rows(finished_studies("flatness").folder)
    group = f"sam ρ={RADIUS}, {LENGTH} steps, {FLIPPED} flipped"
    (row,) = (row for i, row in rows.items() if (i[0], i[1], i[-1]) == ("confirm", group, 1))
    key = named(jax.random.key(0), "confirm", 1)
    train, validation, test, flipped = examples(key)
    vector = trained_by_a_plain_loop(key, *train, row["base_lr"])
    params, width = tree(vector), 1e-5
    hessian = np.array(
        [
            (slope(tree(vector + unit), *train) - slope(tree(vector - unit), *train)) / (2 * width)
            for unit in width * np.eye(len(vector))
        ]
    )
    expected = {
        "train_loss": mean_loss(params, *train),
        "test_loss": mean_loss(params, *test),
        "test_error": errors(params, *test).mean(),
        "validation_error": errors(params, *validation).mean(),
        "memorised": np.mean(~errors(params, *train)[flipped]),
        "calibration_error": calibration_error(params, *test),
        "largest_eigenvalue": np.linalg.eigvalsh(hessian)[-1],
    }
    for name, value in expected.items():
        assert row["metrics"][name] == pytest.approx(value, rel=1e-3), name
    mixed = hessian - np.diag(np.diag(hessian))
    deviation = np.sqrt(2 * np.sum(mixed**2) / 16)  # of the mean over random signs
    assert abs(row["metrics"]["trace"] - np.trace(hessian)) < 5 * deviation
    assert row["score"] == row["metrics"]["validation_error"]


def test_methods_are_compared_at_equal_gradients_and_at_equal_steps():
    config = Config(methods=("sam", "sa_sam"), flipped=(0.2,), radii=(0.1, 0.4), gradients=60, num_steps=30)
    lengths = {
        method: [config.steps(method, view) for view in (GRADIENTS, STEPS)] for method in config.compared
    }
    assert lengths == {"momentum": [60, 30], "sam": [30, 30], "sa_sam": [20, 30]}
    assert [(c.steps, c.radius) for c in config.contestants("sam")] == [(30, 0.1), (30, 0.4)]  # once for both
    assert [c.steps for c in config.contestants("sa_sam")] == [20, 30]
    rates = config.learning_rates(Contestant("momentum", 30, 0.2), 2.0)
    assert len(rates) == 60
    assert (rates.max(), *rates[30:]) == (2.0, *[0.0] * 30)
    assert config.planned_runs == (2 + 2) * 6 * 3 + (2 + 2 + 2) * 16


SHIFT = np.linspace(0, 0.01, 8)  # of each seed, the same for all


def outcome(contestant, screened, error, curvature):
    metrics = {"test_error": error + SHIFT, "largest_eigenvalue": curvature + SHIFT, "trace": 9 - SHIFT}
    return Outcome(contestant, Setting(0, 0.1), True, screened, metrics)


def test_claims_are_judged_at_the_radius_that_the_screening_chose():
    """sam's second radius is chosen though its first errs less: flatter, worse; sa_sam is as bad as it."""
    config = Config(methods=("sam", "sa_sam"), flipped=(0.4,), radii=(0.1, 0.4), gradients=60, num_steps=20)
    measured = {  # by method and radius: the screening's score, the test error, the curvature
        ("momentum", 0.0): (1, 0.2, 4.0),
        ("sam", 0.1): (1, 0.1, 9.0),
        ("sam", 0.4): (0, 0.3, 2.0),
        ("sa_sam", 0.0): (np.inf, 0.3, 1.0),
    }
    outcomes = {
        contestant: outcome(contestant, *measured[method, contestant.radius])
        for method in config.compared
        for contestant in config.contestants(method)
    }
    found = {(c.statement.split(",")[0], c.subject): c for c in claims(Results(config, outcomes, None))}
    at_gradients = {
        (statement, subject.split(",")[0]): (claim.effect.value, claim.held)
        for (statement, subject), claim in found.items()
        if subject.endswith(GRADIENTS)
    }
    assert at_gradients == {
        ("largest eigenvalue of the Hessian", "sam"): (pytest.approx(2.005 / 4.005 - 1), True),
        ("trace of the Hessian", "sam"): (0, False),
        ("test error with flipped labels", "sam"): (pytest.approx(0.1), False),
        ("test error with flipped labels", "sa_sam"): (pytest.approx(0.1), False),
        ("test error without tuning", "sa_sam"): (pytest.approx(0), True),
    }
    assert len(found) == 2 * len(at_gradients)
