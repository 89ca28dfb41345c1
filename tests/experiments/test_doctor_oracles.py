"""The stored figures of the doctor's self-check, derived again by NumPy and SciPy in float64."""

import itertools

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

import geometry
import workloads
from experiments.doctor import oracles, self_check
from experiments.study.storage.checkpoints import Checkpoints
from experiments.study.storage.journal import Journal

X = np.arange(8) / 8


def agree(oracle, figures):
    np.testing.assert_allclose(oracle.expected, np.ravel(figures), rtol=0, atol=1e-14)


def test_schedules():
    v = np.minimum((1 - X) / 0.75, 1)
    cosine, rex, wsd, spline = oracles.SCHEDULES
    rise = X / 0.25
    agree(cosine, np.where(X < 0.25, rise, (1 + np.cos(np.pi * (1 - v))) / 2))
    agree(rex, np.where(X < 0.25, rise, v / (v + 0.5 * (1 - v))))
    agree(wsd, np.where(X < 0.25, rise, np.interp(v, [0, 0.5, 1], [0.1, 1, 1])))
    knots = [0.25, 0.625, 0.8125, 1], [1, 0.75, 0.375, 0]
    agree(spline, np.where(X < 0.25, rise, PchipInterpolator(*knots)(X)))


def test_polar_factor():
    u, s, vt = np.linalg.svd(oracles.MATRIX, full_matrices=False)
    np.testing.assert_allclose(s, [3, 1.5], rtol=1e-14)
    for oracle in oracles.POLAR_FACTORS:
        agree(oracle, u @ vt)


def test_steps_of_adam_and_muon():
    target = np.array(oracles.TARGET)
    adam, muon = np.array(oracles.START), np.array(oracles.START)
    mean, square, average = np.zeros((3, 2, 2))
    for t, rate in enumerate(oracles.RATES, 1):
        gradient = adam - target
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        adam = adam - rate * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        gradient = muon - target
        average = 0.95 * average + 0.05 * gradient
        u, _, vt = np.linalg.svd(0.95 * average + 0.05 * gradient)
        muon = muon - rate * u @ vt
    for oracle, figures in zip(oracles.TRAINING, (adam, muon), strict=True):
        agree(oracle, figures)


def second_moments(spectrum, learning_rate, batch_size, steps):
    """E[z zᵀ] after each step from I, averaged over every batch that may be drawn."""
    dimension = len(spectrum)
    batches = list(itertools.combinations(range(dimension), batch_size))
    moments = np.eye(dimension)
    for _ in range(steps):
        drawn = [np.isin(np.arange(dimension), batch) * dimension / batch_size for batch in batches]
        maps = [np.eye(dimension) - learning_rate * np.diag(spectrum) * weight for weight in drawn]
        moments = np.mean([step @ moments @ step.T for step in maps], axis=0)
    return moments


def test_losses_of_linear_regression():
    mean_field, exact = oracles.REGRESSION
    spectrum = [1 / 2, 1 / 3, 1 / 6]
    agree(mean_field, np.trace(second_moments(spectrum, 1.0, 3, steps=2)) / 6)
    agree(exact, np.trace(second_moments(spectrum, 0.5, 1, steps=10)) / 6)
    drawn = self_check.BATCH_SIZE, self_check.STEPS
    moments = second_moments(self_check.SPECTRUM, self_check.LEARNING_RATE, *drawn)
    np.testing.assert_allclose(self_check.EXPECTED_LOSS, np.trace(moments) / 6, rtol=1e-14)


def problems(*checked):
    return [oracle.name for oracle in checked if self_check.checked(oracle).stops]


def test_a_biased_sweep_is_found(monkeypatch):
    """A step less leaves a loss that is a fifth higher, seven standard errors of 2,048 runs."""
    monkeypatch.setattr(self_check, "STEPS", self_check.STEPS - 1)
    assert problems(self_check.SWEEPS[0]) == ["sweep over all devices"]


def test_runs_that_depend_on_the_number_of_devices_are_found(monkeypatch):
    real = self_check.losses
    monkeypatch.setattr(self_check, "losses", lambda count: real() * (1.0001 if count else 1))
    found = self_check.checked(self_check.SWEEPS[1])
    assert found.stops
    assert found.found.startswith("how far they are off, relative: 0.0001")


def test_another_direction_is_found(monkeypatch):
    monkeypatch.setattr(geometry, "polar", lambda matrix, method: 1.0001 * matrix)
    assert problems(*oracles.POLAR_FACTORS) == [oracle.name for oracle in oracles.POLAR_FACTORS]


def test_a_run_that_skips_a_step_is_found(monkeypatch):
    real = workloads.train

    def shorter(workload, data, optimizer, rates, keys, **options):
        return real(workload, data, optimizer, rates[:-1], keys, **options)

    monkeypatch.setattr(workloads, "train", shorter)
    assert problems(*oracles.TRAINING) == ["three steps of Adam", "three steps of Muon"]


SPOILT = {
    "a row lost": lambda rows: rows[1:],
    "a row twice": lambda rows: [*rows, rows[0]],
    "a score changed": lambda rows: [rows[0]._replace(score=0.3001), rows[1]],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=list(SPOILT))
def test_a_journal_that_forgets_is_found(tmp_path, monkeypatch, spoil):
    real = Journal.rows
    monkeypatch.setattr(Journal, "rows", lambda journal, stage: spoil(real(journal, stage)))
    journal, _ = self_check.round_trips(tmp_path)
    assert problems(journal) == ["journal"]


LOST = {
    "a bit": lambda found: found._replace(saved={**found.saved, "step": np.int32(12_344)}),
    "all": lambda found: None,
}


@pytest.mark.parametrize("lose", LOST.values(), ids=list(LOST))
def test_a_checkpoint_that_loses_something_is_found(tmp_path, monkeypatch, lose):
    real = Checkpoints.newest

    def newest(*given):
        found, problems = real(*given)
        return lose(found), problems

    monkeypatch.setattr(Checkpoints, "newest", newest)
    _, checkpoint = self_check.round_trips(tmp_path)
    assert problems(checkpoint) == ["checkpoint"]
