"""What is told of the criterion: how it ranks gaps, and what halving by it leaves."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from experiments.generalization import figures
from experiments.generalization.all_measures import findings as all_measures
from experiments.generalization.all_measures.runs import Results as MeasureResults
from experiments.generalization.config import Candidate, candidates
from experiments.generalization.gaps import CLAIMED, CONTROLS, CRITERIA
from experiments.generalization.halving import BASELINES, PREDICTED, share_of_budget
from experiments.generalization.runs import Results
from experiments.study.showing.claims import Claim, above, below, tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import change_columns, marked_name
from experiments.study.showing.table import Table, column
from schedules.search import Estimate, Standing


def present(results: Results | MeasureResults) -> Findings:
    """Both tables, with what became of the paper's claims; or what is told of all measures."""
    if isinstance(results, MeasureResults):
        return all_measures.present(results)
    config, claims = results.config, [*ranking_claims(results), *pruning_claims(results)]
    widths, optimizers = ", ".join(map(str, config.widths)), ", ".join(config.optimizers)
    content = [
        ranking_table(results),
        halving_table(results),
        *notes(results),
        *drawn(results, figures.gaps, figures.correlations, figures.halving),
    ]
    return Findings(
        f"The digits at 4×4 pixels; networks with one hidden layer of {widths} units; {optimizers} at"
        f" {config.rates} constant rates each, {config.num_steps} steps of {config.batch_size} examples.",
        tally(claims),
        [Part("", content)],
        claims,
        facts(config, "confidence", scale=results.standings[0].scale.value),
    )


def ranking_claims(results: Results) -> list[Claim]:
    """That the criterion ranks gaps, beyond what the train size and the best of simple rivals tell."""
    _, by_size, equal_size = results.rankings
    rival = next(name for name in equal_size.best_first if name in CONTROLS)
    judged = [
        *(("ranks gaps at equal n", name, equal_size.estimate(name)) for name in CRITERIA),
        (f"ranks them better than {rival}", CLAIMED, equal_size.lead(CLAIMED, rival)),
        *(("ranks gaps at one n", f"{CLAIMED}, n = {n}", c.estimate(CLAIMED)) for n, c in by_size.items()),
    ]
    return [Claim(*claimed, above(0)) for claimed in judged]


def pruning_claims(results: Results) -> list[Claim]:
    """That halving by train loss + TIC/n leaves less test loss, as a relative change, than its rivals do."""
    return [
        Claim(f"prunes better than {rival}", standing.name, standing.against[rival], below(0))
        for rival in BASELINES
        for standing in results.standings
        if standing.name in PREDICTED
    ]


def ranking_table(results: Results) -> Table[str]:
    """A row a predictor, the best at equal train size first."""
    overall, by_size, equal_size = results.rankings

    def within_each(name: str) -> dict[int, Estimate]:
        return {size: rank.estimate(name) for size, rank in by_size.items()}

    columns = (
        column("predictor", predictor=lambda name: name),
        column("rank correlation with the gap [interval]", rank_correlation=overall.estimate),
        column("at equal n [interval]", rank_correlation_at_equal_size=equal_size.estimate),
        column(rank_correlation_by_size=within_each),
    )
    return Table("predictors", columns, equal_size.best_first)


def halving_table(results: Results) -> Table[Standing]:
    """A row a criterion to halve by, the best first."""
    columns = (
        column("halving by", shown=marked_name, criterion=lambda standing: standing.name),
        column("test loss [interval]", test_loss=lambda standing: standing.score),
        *change_columns(BASELINES, results.standings[0].scale),
        column(ties_with_best=lambda standing: standing.ties_with_best),
        column("most often chosen", _most_chosen, wrapped=True, chosen=lambda s: s.winner.chosen),
    )
    title = f"successive halving at n = {results.config.halving_size}"
    return Table("halving", columns, results.standings, title=title)


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, count = results.config, len(candidates(results.config))
    ratio = np.median(results.measured.predictions[CLAIMED] / results.measured.gaps)
    share = share_of_budget(count, config.rungs)
    return [
        f"Spearman's rank correlations over {len(results.measured.gaps):,} runs, {config.confidence:.0%}"
        f" intervals from resampled candidates, a candidate's seeds and sizes together. {CLAIMED} is"
        f" {ratio:.2g} times the gap, the median over runs.",
        f"H is the Gauss–Newton matrix for the exact and block-wise criteria, the Fisher matrix with one"
        f" sampled label for the others; damping {config.damping:g}.",
        f"Halving: {count} candidates at n = {config.halving_size}, measured at steps"
        f" {', '.join(map(str, config.rungs))}; medians of {config.halving_replicates} replays, each choice"
        f" scored by its median test loss over {config.halving_replicates} fresh seeds. * best; = not"
        " distinguishable from it.",
        f"Equal budget: every criterion is replayed on the same runs and takes {share:.0%} of the steps of"
        f" training all. validation_loss had {config.validation_size} labelled examples for free, on which no"
        " run trained; the others had none.",
        f"{results.tally} A diverged run has no gap to rank; in halving it scores +inf.",
    ]


def _most_chosen(chosen: Sequence[Candidate]) -> str:
    ((candidate, times),) = Counter(chosen).most_common(1)
    return f"{candidate} ({times} of {len(chosen)})"
