"""What is told of the laws: how they rank, what they propose, and whether that is of use to a search."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.loss_prediction import figures
from experiments.loss_prediction.config import FITTED
from experiments.loss_prediction.runs import MOST, OTHER_SEEDS, SUM, WINNER, Results, optimum_name, pick_name
from experiments.loss_prediction.shapes import ANY, EQUAL
from experiments.study.showing.claims import Claim, above, below
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import change_columns, marked_name, shape_column
from experiments.study.showing.table import Table, column
from experiments.study.statistics.resampled import Correlations
from schedules.search import Candidate, Estimate, Scale, Standing

HIGH = 0.8  # a rank correlation
NEAR = 0.05  # a relative change of the loss; no difference is known to be small


class Proposal(NamedTuple):
    """A row of the table of proposals."""

    pool: str
    standing: Standing
    candidate: Candidate


def present(results: Results) -> Findings:
    """Claims first, then how the laws rank and what they propose, and the curves that they were fitted on."""
    config = results.config
    claims = [
        claim for law in results.laws for claim in (*_rankings(law, results), *_proposals(law, results))
    ]
    predictions, contest, curves = drawn(results, figures.predictions, figures.contest, figures.curves)
    tables = predictions, ranking_table(results), contest, proposal_table(results)
    laws = {
        name: {"constants": law.constants, "count_warmup": law.count_warmup, "fit_error": law.error}
        for name, law in results.laws.items()
    }
    return Findings(
        f"{config.workload_text}, {config.optimizer}, batch {config.batch_size}, {config.num_steps} steps",
        verdict(claims, list(results.laws)),
        [Part("", [*tables, curves, *notes(results)])],
        claims,
        facts(config, "workload", "metric", "confidence", scale=results.scale.value, laws=laws),
    )


def verdict(claims: Sequence[Claim], laws: Sequence[str]) -> str:
    """Whether each law is of use to a search here: all that is claimed of it must hold."""
    judged = {law: [claim.held for claim in claims if claim.subject == law] for law in laws}
    return " ".join(
        f"The {law} {'pays' if all(held) else 'does NOT pay'}: {sum(held)} of {len(held)} claims held."
        for law, held in judged.items()
    )


def ranking_table(results: Results) -> Table[tuple[str, str]]:
    """A row a pool and predictor, without a correlation where it says the same of all shapes."""
    config = results.config

    def estimate(known: Mapping[str, Correlations], pool: str, predictor: str) -> Estimate | None:
        tells = predictor in known[pool].names
        return known[pool].estimate(predictor) if tells else None

    columns = (
        column("compared at", pool=lambda row: row[0]),
        column("ranked by", predictor=lambda row: row[1]),
        column(f"all {config.num_shapes} shapes [interval]", all=lambda row: estimate(results.overall, *row)),
        column(f"the best {config.num_best} [interval]", best=lambda row: estimate(results.among_best, *row)),
    )
    rows = itertools.product(results.pools, (*results.laws, SUM, OTHER_SEEDS))
    return Table("rank_correlations", columns, list(rows))


def proposal_table(results: Results) -> Table[Proposal]:
    """A row an entrant, of each pool the best first."""
    columns = (
        column("compared at", pool=lambda row: row.pool),
        column("schedule", shown=lambda r: marked_name(r.standing), schedule=lambda r: r.standing.name),
        shape_column("shape", lambda row: row.candidate),
        column("peak LR", base_lr=lambda row: row.candidate.base_lr),
        column("loss [interval]", score=lambda row: row.standing.score),
        *change_columns((WINNER, MOST), results.scale, lambda row: row.standing),
    )
    rows = [
        Proposal(pool, standing, standing.winner.candidate)
        for pool, contest in results.contests.items()
        for standing in contest.values()
    ]
    return Table("contests", columns, rows, title="proposals")


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, equal = results.config, results.pools[EQUAL].scored
    low, high = config.smallest_share * config.largest_rate, config.largest_rate
    return [
        f"Fitted on the medians of {config.fit_replicates} seeds of {len(FITTED)} runs, at"
        f" {config.curve_points} points from {config.curve_start:.0%} of a run on. The law is that of"
        " arXiv:2503.12811, which takes a warm-up by its sum alone; the law with warm-up counts its rises.",
        *(_law_note(name, results) for name in results.laws),
        f"Every peak lies between the fitted ones, {low:.3g} and {high:.3g}. At equal Σ LR all shapes have a"
        f" mean learning rate of {low:.3g} and losses from {np.min(equal):.3g} to {np.max(equal):.3g}, the"
        f" median {np.median(equal):.3g}; {SUM} is the same for all.",
        f"Rank correlations are Spearman's, with medians of {config.score_replicates} fresh seeds;"
        f" {config.confidence:.0%} intervals from resampled shapes. {config.choose_replicates} other seeds"
        " say which are the best; among those, their own correlation is less than what there is to predict.",
        f"Proposals and the {WINNER}, the best by both, by the medians of {config.confirm_replicates} fresh"
        " seeds. * best; = not distinguishable from it; changes are paired by seed.",
        f"{results.tally}",
    ]


def _rankings(law: str, results: Results) -> list[Claim]:
    """That it tells shapes apart where the sum of learning rates cannot, and better where it can."""
    overall, among_best = results.overall, results.among_best
    best = f"best {results.config.best_fraction:.0%}"
    measured = {
        f"rank correlation, {EQUAL}": (overall[EQUAL].estimate(law), HIGH),
        f"rank correlation, {EQUAL}, {best}": (among_best[EQUAL].estimate(law), 0),
        f"lead over {SUM}, {ANY}": (overall[ANY].lead(law, SUM), 0),
        f"lead over {SUM}, {ANY}, {best}": (among_best[ANY].lead(law, SUM), 0),
    }
    return [Claim(statement, law, effect, above(bound)) for statement, (effect, bound) in measured.items()]


def _proposals(law: str, results: Results) -> list[Claim]:
    """That what it proposes comes near the winner of the measured shapes, and beats the largest sum."""
    proposed = {
        f"its pick, {EQUAL}": results.contests[EQUAL][pick_name(law)],
        f"its pick, {ANY}": results.contests[ANY][pick_name(law)],
        f"its optimum, {ANY}": results.contests[ANY][optimum_name(law)],
    }
    bounds = {WINNER: NEAR if results.scale is Scale.RELATIVE else 0.0, MOST: 0.0}
    return [
        Claim(f"loss above the {name}'s: {proposal}", law, standing.against[name], below(bound))
        for name, bound in bounds.items()
        for proposal, standing in proposed.items()
        if name in standing.against
    ]


def _law_note(name: str, results: Results) -> str:
    law = results.laws[name]
    constants = ", ".join(f"{key} {value:.3g}" for key, value in law.constants._asdict().items())
    errors = (
        f"{np.median(np.abs(pool.predictions[name] / pool.scored - 1)):.1%} at {pool_name}"
        for pool_name, pool in results.pools.items()
    )
    return (
        f"The {name}: {constants}. Error on the fitted curves {law.error:.2g} (RMS of the log); median"
        f" relative error of an unseen final loss {' and '.join(errors)}."
    )
