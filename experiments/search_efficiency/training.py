"""Searches of real training runs. Every run is journaled, and all findings are read from the journal alone.

The runs of a search, those with fresh seeds that judge its incumbents, and those that tell the truth about
its winner are three stages of the journal, with seeds that no other search has.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.search_efficiency.config import DEFAULT, Training
from experiments.search_efficiency.judging import Judged, Known, Winner, median_error
from experiments.search_efficiency.searches import DRAWN, Incumbents, Search, improvements
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import UnfinishedStudy
from experiments.study.running.session import Session
from experiments.study.storage.journal import Journal, Row
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.shape_runs import ShapeRunner
from schedules.search import STRATEGIES, Candidate, Once, Race, Raced, Rung
from schedules.search.drawing import RATES
from schedules.search.racing import median_scores, race, replicate_scores, rung_medians, told_scores
from workloads import Workload

CHUNK_RUNS = 256
FINALS = "finals"


def run(config: Training, workload: Workload, study: Session) -> Judged:
    """Make all runs that the journal lacks, and judge the searches by them."""
    runner = ShapeRunner(
        workload,
        lambda schedule: OPTIMIZERS[config.optimizer].build(schedule, 0.0),
        jax.random.key(config.seed),
        study.sweep,
        batch_size=config.batch_size,
        capacity=CHUNK_RUNS,
    )
    evaluate, journal = (
        study.evaluator(lambda sweep, capacity: runner, config.metric, CHUNK_RUNS),
        study.journal,
    )
    for search in config.searches:
        if not _is_judged(search, journal):
            run_search(search, config, evaluate, study.once)
            _incumbents(search, config, journal, evaluate)
    return judge(config, journal, evaluate)


def judge(config: Training, journal: Journal, evaluate: Evaluate) -> Judged:
    """Score the incumbents of every search with fresh seeds, and the best ones with many.

    Raises UnfinishedStudy where the journal lacks a search, or `evaluate` a run.
    """
    for search in config.searches:
        if not _is_judged(search, journal):
            raise UnfinishedStudy(f"the search {search.name!r} of {search.family} is missing")
    found = {search: _incumbents(search, config, journal, evaluate) for search in config.searches}
    known = {family: _known(family, found, config, evaluate) for family in config.families}
    default = {search: of for search, of in found.items() if search.strategy == DEFAULT}
    winners = {search: _winner(search, of, config, evaluate) for search, of in default.items()}
    return Judged(found, known, winners)


def run_search(search: Search, config: Training, evaluate: Evaluate, once: Once) -> None:
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
        steps += sum(training_steps(one, rules) for one in new)


def batch_of(search: Search, config: Training) -> int:
    """How many candidates a search asks for at a time: of drawn shapes one, with all its learning rates."""
    return RATES if search.asks in DRAWN else config.batch


def training_steps(one: Raced, rules: Race) -> int:
    """The steps of a candidate's runs; a rung needs only those that the ones before it lacked."""
    replicates = {rung.num_steps: rung.replicates for rung in rules.rungs[: len(one.medians)]}
    return sum(num_steps * count for num_steps, count in replicates.items())


def _incumbents(search: Search, config: Training, journal: Journal, evaluate: Evaluate) -> Incumbents:
    """A search's best candidates after each batch, by the median over the full measurement."""
    rows = [row for row in journal.rows(search.name) if row.identity[1] == search.family]
    runs = [list(of) for _, of in itertools.groupby(rows, key=lambda row: row.identity[2])]
    batch = batch_of(search, config)
    steps = np.array([sum(row.label["num_steps"] for row in of) for of in runs]).reshape(-1, batch)
    told = np.array([_full_score(of, config) for of in runs]).reshape(-1, batch)
    costs = np.cumsum(steps.sum(axis=1)) / config.num_steps
    places = improvements(told.min(axis=1))
    numbers = batch * places + told[places].argmin(axis=1)
    candidates = tuple(_candidate(runs[number][0], config) for number in numbers)
    rung = Rung(config.fresh_replicates, config.num_steps)
    scores = median_scores(_fresh(search), candidates, rung, evaluate)
    return Incumbents(candidates, costs[places], told[places].min(axis=1), np.array(scores))


def _full_score(rows: Sequence[Row], config: Training) -> float:
    """The median over the full measurement; +inf where a candidate dropped out of its race before."""
    scores = [row.score for row in rows if row.label["num_steps"] == config.num_steps]
    return float(np.median(scores)) if len(scores) == config.screen_replicates else np.inf


def _candidate(row: Row, config: Training) -> Candidate:
    _, family, number, *_ = row.identity
    return Candidate(config.spaces[family].family, number, row.params, row.base_lr)


def _known(family: str, found: Mapping[Search, Incumbents], config: Training, evaluate: Evaluate) -> Known:
    """The best candidate known, among the finalists by seeds that chose none of them."""
    of_family = [of for search, of in found.items() if search.family == family]
    scored = [pair for of in of_family for pair in zip(of.scores, of.candidates, strict=True)]
    finalists = [candidate for _, candidate in sorted(scored, key=lambda pair: pair[0])[: config.finalists]]
    # candidates of several searches have the same numbers
    ranked = [
        Candidate(candidate.family, rank, candidate.params, candidate.base_lr)
        for rank, candidate in enumerate(finalists)
    ]
    rung = Rung(config.truth_replicates, config.num_steps)
    best = min(replicate_scores(FINALS, ranked, rung, evaluate), key=np.median)
    return Known(float(np.median(best)), median_error(best, config.fresh_replicates))


def _winner(search: Search, of: Incumbents, config: Training, evaluate: Evaluate) -> Winner:
    def scores(stage: str, replicates: int) -> np.ndarray:
        return replicate_scores(stage, [of.winner], Rung(replicates, config.num_steps), evaluate)[0]

    return Winner(
        float(of.told[-1]),
        scores(_fresh(search), config.confirm_replicates),
        scores(f"{search.name}, truth", config.truth_replicates),
    )


def _fresh(search: Search) -> str:
    return f"{search.name}, fresh"


def _is_judged(search: Search, journal: Journal) -> bool:
    """Whether a search has come to its end: only then are its incumbents scored with fresh seeds."""
    return any(family == search.family for _, family, *_ in journal.scores(_fresh(search)))
