"""Searches of real training runs, of which every one is journaled.

The runs of a search, those with fresh seeds that judge its incumbents, and those that tell the truth about
its winner are three stages of the journal, with seeds that no other search has.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.search_efficiency.config import DEFAULT, Training
from experiments.search_efficiency.judging import Judged, Known, Winner, median_error
from experiments.search_efficiency.searches import DRAWN, Incumbents, Search, improvements, numbered
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Runner, Runs
from experiments.study.training.shape_runs import shape_runner
from schedules.search import STRATEGIES, Once, Race, Raced, Rung
from schedules.search.drawing import RATES
from schedules.search.racing import median_scores, race, replicate_scores, rung_medians, told_scores

CHUNK_RUNS = 256
FINALS = "finals"


def judge(config: Training, runs: Runs) -> Judged:
    """Make all searches, score the incumbents of each with fresh seeds, and the best ones with many."""
    evaluate = runs.evaluator(lambda: runner(config, runs), config.metric, CHUNK_RUNS)
    incumbents = {}
    for search in config.searches:
        raced = run_search(search, config, evaluate, runs.once)
        incumbents[search] = _incumbents(search, raced, config, evaluate)
    known = {family: _known(family, incumbents, config, evaluate) for family in config.families}
    default = {search: held for search, held in incumbents.items() if search.strategy == DEFAULT}
    winners = {search: _winner(search, held, config, evaluate) for search, held in default.items()}
    return Judged(incumbents, known, winners)


def runner(config: Training, runs: Runs) -> Runner:
    """What trains every candidate."""
    return shape_runner(config, runs, config.transformation, batch_size=config.batch_size)


def run_search(search: Search, config: Training, evaluate: Evaluate, once: Once) -> tuple[Raced, ...]:
    """Ask, race and tell until the budget is spent."""
    space, rules = config.spaces[search.family], config.race(search)
    strategy = STRATEGIES[search.asks](space.dimensions, batch_of(search, config))
    start = strategy.init(search.key(jax.random.key(config.seed)))
    points, raced, steps = start.points, (), 0

    def proposals() -> list[dict[str, Any]]:
        history = strategy.tell(start, points, told_scores(rung_medians(raced, rules)))
        return space.proposals(strategy.ask(history))

    while steps < config.budgets[search.strategy] * config.num_steps:
        made = once(f"{search.name} of {search.family} from {len(points)}", proposals)
        asked, candidates = space.proposed(made, len(points))
        new = race(search.name, {"": candidates}, {"": raced}, rules, evaluate)[""]
        points, raced = np.concatenate([points, asked.astype(np.float32)]), raced + new
        steps += sum(training_steps(candidate, rules) for candidate in new)
    return raced


def batch_of(search: Search, config: Training) -> int:
    """How many candidates a search asks for at a time: of drawn shapes one, with all its learning rates."""
    return RATES if search.asks in DRAWN else config.batch


def training_steps(raced: Raced, rules: Race) -> int:
    """The steps of a candidate's runs; a rung needs only those that the ones before it lacked."""
    replicates = {rung.num_steps: rung.replicates for rung in rules.rungs[: len(raced.medians)]}
    return sum(num_steps * count for num_steps, count in replicates.items())


def _incumbents(search: Search, raced: Sequence[Raced], config: Training, evaluate: Evaluate) -> Incumbents:
    """A search's best candidates after each batch, by the median over the full measurement."""
    rules, batch = config.race(search), batch_of(search, config)
    told = np.array([_full_score(candidate, rules) for candidate in raced]).reshape(-1, batch)
    steps = np.array([training_steps(candidate, rules) for candidate in raced]).reshape(-1, batch)
    costs = np.cumsum(steps.sum(axis=1)) / config.num_steps
    places = improvements(told.min(axis=1))
    numbers = batch * places + told[places].argmin(axis=1)
    candidates = tuple(raced[number].candidate for number in numbers)
    rung = Rung(config.fresh_replicates, config.num_steps)
    scores = median_scores(_fresh(search), candidates, rung, evaluate)
    return Incumbents(candidates, costs[places], told[places].min(axis=1), np.array(scores))


def _full_score(raced: Raced, rules: Race) -> float:
    """The median over the full measurement; +inf where a candidate dropped out of its race before."""
    last = rules.rungs[len(raced.medians) - 1]
    return raced.medians[-1] if last == rules.rungs[-1] else np.inf


def _known(
    family: str, incumbents: Mapping[Search, Incumbents], config: Training, evaluate: Evaluate
) -> Known:
    """The best candidate known, among the finalists by seeds that chose none of them."""
    searched = [held for search, held in incumbents.items() if search.family == family]
    scored = [pair for held in searched for pair in zip(held.scores, held.candidates, strict=True)]
    finalists = [candidate for _, candidate in sorted(scored, key=lambda pair: pair[0])[: config.finalists]]
    rung = Rung(config.truth_replicates, config.num_steps)
    best = min(replicate_scores(FINALS, numbered(finalists), rung, evaluate), key=np.median)
    return Known(float(np.median(best)), median_error(best, config.fresh_replicates))


def _winner(search: Search, incumbents: Incumbents, config: Training, evaluate: Evaluate) -> Winner:
    def scores(stage: str, replicates: int) -> np.ndarray:
        rung = Rung(replicates, config.num_steps)
        return replicate_scores(stage, [incumbents.winner], rung, evaluate)[0]

    return Winner(
        float(incumbents.told[-1]),
        scores(_fresh(search), config.confirm_replicates),
        scores(f"{search.name}, truth", config.truth_replicates),
    )


def _fresh(search: Search) -> str:
    return f"{search.name}, fresh"
