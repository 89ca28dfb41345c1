"""The searches, by runs of one seed each, and the choice that each names after so many of them."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from experiments.search_efficiency.all_shapes import optuna_asks
from experiments.search_efficiency.all_shapes.config import AllShapes, Contestant, Search
from experiments.search_efficiency.searches import CURVES
from schedules.search import STRATEGIES, Candidate, Once, SearchSpace, Trial, search_curves
from schedules.search.curves import Scores, explore, model_of, ranked
from schedules.search.joint import Searched
from schedules.search.keys import named_key
from schedules.search.racing import SCREEN, Evaluate, trial_scores

KNOWN = "best known"  # the largest search


def make_search(search: Search, config: AllShapes, evaluate: Evaluate, once: Once) -> Scores:
    """Its runs with their scores, in the order asked."""
    key = named_key(jax.random.key(config.seed), "search", search.name)
    evaluate, once = _own(search.name, evaluate), _named(search.name, once)
    spaces = config.spaces(search.contestant)
    if search.contestant.method == CURVES:
        return explore(spaces, config.exploration, key, evaluate, once)
    return _asked_in_turn(search.contestant, spaces, config, key, evaluate, once)


def search_best(config: AllShapes, evaluate: Evaluate, once: Once) -> Searched:
    """The search for the best curve known."""
    key = named_key(jax.random.key(config.seed), KNOWN)
    spaces = tuple(config.spaces().values())
    return search_curves(spaces, (), config.known_budget, key, _own(KNOWN, evaluate), _named(KNOWN, once))


def choices(search: Search, scores: Scores, config: AllShapes, once: Once) -> tuple[Candidate, ...]:
    """At each checkpoint: of the lowest mean under the model of the runs so far, or, by other methods, of the
    lowest score."""
    asked = {(trial.candidate.family.name, trial.candidate.number): trial.candidate for trial in scores}

    def best(runs: int) -> list[Any]:
        so_far = dict(itertools.islice(scores.items(), runs))
        model = model_of(so_far) if search.contestant.method == CURVES else None
        candidate = ranked(so_far, model)[0]
        return [candidate.family.name, candidate.number]

    named = (
        once(f"{search.name}: choice after {runs}", functools.partial(best, runs))
        for runs in config.checkpoints
    )
    return tuple(asked[family, number] for family, number in named)


def _asked_in_turn(
    contestant: Contestant,
    spaces: Mapping[str, SearchSpace],
    config: AllShapes,
    key: PRNGKeyArray,
    evaluate: Evaluate,
    once: Once,
) -> Scores:
    """A batch after the other; every run has a seed of its own, as where nobody takes care of them."""
    ask = optuna_asks.asked if contestant.method in optuna_asks.SAMPLERS else _asked_by_strategy
    made: list[dict[str, Any]] = []
    scores: dict[Trial, float] = {}
    while len(made) < config.runs:
        told = list(scores.values())
        propose = functools.partial(ask, contestant.method, spaces, made, told, config.batch, key)
        new = once(f"from {len(made)}", propose)[: config.runs - len(made)]
        candidates = [
            Candidate(spaces[proposal["family"]].family, number, proposal["params"], proposal["base_lr"])
            for number, proposal in enumerate(new, len(made))
        ]
        trials = [Trial(SCREEN, candidate, config.num_steps, candidate.number) for candidate in candidates]
        scores |= trial_scores(trials, evaluate)
        made += new
    return scores


def _asked_by_strategy(
    strategy: str,
    spaces: Mapping[str, SearchSpace],
    made: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    size: int,
    key: PRNGKeyArray,
) -> list[dict[str, Any]]:
    """The next proposals of a strategy on the only space; see `optuna_asks.asked`."""
    ((name, space),) = spaces.items()
    search = STRATEGIES[strategy](space.dimensions, size)
    points, _ = space.proposed(made, 0)
    history = search.tell(search.init(key), points, np.array(scores))
    return [{"family": name, **proposal} for proposal in space.proposals(search.ask(history))]


def _own(name: str, evaluate: Evaluate) -> Evaluate:
    """With stages, and so with seeds, that no other search has."""

    def evaluate_own(trials: Sequence[Trial]) -> dict[Trial, float]:
        own = [trial._replace(stage=f"{name}, {trial.stage}") for trial in trials]
        scores = evaluate(own)
        return {trial: scores[renamed] for trial, renamed in zip(trials, own, strict=True)}

    return evaluate_own


def _named(name: str, once: Once) -> Once:
    """With decisions that no other search has."""

    def named(decision: str, make: Callable[[], Any]) -> Any:
        return once(f"{name}: {decision}", make)

    return named
