"""What is asked of Optuna's samplers, against a study of Optuna's own in which its users' loop runs."""

import json
import math
import sys
import warnings

import jax
import numpy as np
import pytest

from experiments.search_efficiency import AllShapes
from experiments.search_efficiency.all_shapes import optuna_asks, searches
from experiments.search_efficiency.all_shapes.config import Contestant, Search
from experiments.search_efficiency.all_shapes.optuna_asks import LARGEST_SEED, asked
from experiments.study.options.errors import StudyError
from schedules import FAMILIES, Interval
from schedules.search import SearchSpace, named_key

BATCH, BATCHES = 4, 5
RATES = Interval(0.002, 0.5, log=True)
SPACES = {
    "all": {name: SearchSpace(FAMILIES[name], RATES) for name in ("linear", "wsd")},
    "wsd": {"wsd": SearchSpace(FAMILIES["wsd"], RATES)},
}


def score(family, params, base_lr):
    """A landscape with a cliff."""
    return math.inf if base_lr > 0.4 else math.log(base_lr / 0.1) ** 2 + sum(params.values()) + len(family)


def proposed(sampler, spaces, key):
    made, scores = [], []
    for _ in range(BATCHES):
        new = asked(sampler, spaces, made, scores, BATCH, key)
        scores += [score(*proposal.values()) for proposal in new]
        made += new
    return made


def objective(trial, space):
    """As a user writes it; told what it asked for."""
    family = trial.suggest_categorical("family", ["linear", "wsd"]) if space == "all" else "wsd"
    params = {"warmup": trial.suggest_float(f"{family}.warmup", *ends(family, "warmup"))}
    if family == "wsd":
        params["decay"] = trial.suggest_float("wsd.decay", *ends(family, "decay"))
        params["floor"] = trial.suggest_float("wsd.floor", *ends(family, "floor"))
    base_lr = trial.suggest_float("base_lr", 0.002, 0.5, log=True)
    return {"family": family, "params": params, "base_lr": base_lr}


def ends(family, name):
    interval = FAMILIES[family].space[name]
    assert not interval.log
    return interval.low, interval.high


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_asks_are_those_of_optuna_s_own_loop(sampler, space):
    optuna = pytest.importorskip("optuna")
    makers = {"tpe": {"multivariate": True, "group": True}, "gp": {"warn_independent_sampling": False}}
    if sampler == "gp":
        pytest.importorskip("torch").set_num_threads(1)
    key, expected = jax.random.key(3), []
    made = proposed(sampler, SPACES[space], key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study()
        for _ in range(BATCHES):
            words = np.asarray(jax.random.key_data(named_key(key, "batch", len(expected))))
            seed = int(np.random.default_rng(words).integers(LARGEST_SEED))
            kind = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[sampler]
            study.sampler = kind(seed=seed, **makers[sampler])
            trials = [study.ask() for _ in range(BATCH)]
            candidates = [objective(trial, space) for trial in trials]
            for trial, candidate in zip(trials, candidates, strict=True):
                study.tell(trial, score(*candidate.values()))
            expected += candidates
    assert made == expected
    assert {proposal["family"] for proposal in made} == set(SPACES[space])
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize("contestant", ["tpe/all", "trust_region/wsd", "curves/all"])
def test_a_search_that_was_stopped_goes_on_as_it_would_have(contestant):
    pytest.importorskip("optuna")
    families, contestants = ("linear", "wsd"), {"curves/all": 2}
    config = AllShapes(
        families=families, contestants=contestants, checkpoints=(24,), num_steps=10, batch_size=4
    )
    search = Search(Contestant.named(contestant), 1)

    def evaluate(trials):
        return {
            trial: score(trial.candidate.family.name, trial.params, trial.base_lr) + trial.replicate / 100
            for trial in trials
        }

    def made_with(decisions):
        def once(name, make):
            if name not in decisions:
                decisions[name] = json.loads(json.dumps(make()))
            return decisions[name]

        scores = searches.make_search(search, config, evaluate, once)
        named = searches.choices(search, scores, config, once)
        told = [(trial.identity, trial.base_lr, trial.params, score) for trial, score in scores.items()]
        return told, named[0].params

    decisions = {}
    whole = made_with(decisions)
    assert len(decisions) == 4
    first = {name: decisions[name] for name in list(decisions)[:2]}
    assert made_with(first) == whole
    assert first == decisions


@pytest.mark.parametrize(("sampler", "library"), [("tpe", "optuna"), ("gp", "torch")])
def test_without_its_library_a_sampler_names_the_extra(monkeypatch, sampler, library):
    pytest.importorskip("optuna")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(StudyError, match=rf"need {library}: pip install 'steepest\[incumbents\]'"):
        optuna_asks.versions([sampler])
