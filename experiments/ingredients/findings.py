"""What is told of Muon's ingredients: every variant's loss, every setting's gain, and what ranks them."""

import numpy as np

from experiments.ingredients import figures
from experiments.ingredients.claims import claims
from experiments.ingredients.config import ALL, Contestant
from experiments.ingredients.predictors import PREDICTORS
from experiments.ingredients.problems import LOSS, Problem
from experiments.ingredients.runs import Results
from experiments.ingredients.variants import ADAMW, MUON, VARIANTS
from experiments.study.showing.cells import NONE
from experiments.study.showing.claims import tally
from experiments.study.showing.findings import Findings, Part, drawn, facts
from experiments.study.showing.standings import marks_note, not_bracketed, rate_column, standing_columns
from experiments.study.showing.table import REPORT, Column, Table, column
from experiments.study.statistics.resampled import Correlations
from schedules.search import Estimate, Scale, Standing, median_estimate, standings, verdict


def present(results: Results) -> Findings:
    """The variants, then the settings and what ranks them."""
    config, judged, ranked = results.config, claims(results), variants(results)
    variant_figure, gain_figure = drawn(results, figures.ingredients, figures.predictors)
    return Findings(
        f"{config.main_problem.name}; {config.num_steps} steps, {config.schedule} schedule",
        f"{tally(judged)} {verdict(ranked, MUON, 'variant')} {prediction_text(results)}",
        [
            Part("", [variant_table(ranked, results), *notes(ranked, results), variant_figure]),
            Part("Gains", [correlation_table(results), setting_table(results), gain_figure]),
        ],
        judged,
        facts(config, "confidence"),
    )


def prediction_text(results: Results) -> str:
    """Which predictors surely rank all settings, in either order."""
    estimates = {name: results.correlations[ALL].estimate(name) for name in PREDICTORS}
    rankers = [name for name, e in estimates.items() if e.low > 0 or e.high < 0]
    return f"The gain over AdamW is surely ranked before training by {', '.join(rankers) or 'nothing'}."


def variants(results: Results) -> tuple[Standing, ...]:
    """Best first."""
    config = results.config
    tuned = {name: results.tuned[Contestant(config.main_problem, name)] for name in config.compared}
    return standings(tuned, (MUON,), config.confidence, Scale.RELATIVE)


def variant_table(ranked: tuple[Standing, ...], results: Results) -> Table[Standing]:
    """A row a variant, those of an ingredient together and the best of them first."""
    problem, order = results.config.main_problem, [variant.ingredient for variant in VARIANTS.values()]
    medians = {s.name: results.medians[Contestant(problem, s.name).name] for s in ranked}
    inserted = (
        column("changed", ingredient=lambda s: VARIANTS[s.name].ingredient or NONE),
        column("to", words=lambda s: VARIANTS[s.name].words, wrapped=True),
        rate_column(lambda standing: standing.winner),
    )
    columns = standing_columns("variant", f"{LOSS}, interval", (MUON,), ranked, medians, LOSS, inserted)
    rows = sorted(ranked, key=lambda s: order.index(VARIANTS[s.name].ingredient))
    return Table("variants", columns, rows)


def correlation_table(results: Results) -> Table[str]:
    """A row a predictor."""

    def correlated(family: str, correlations: Correlations) -> Column[str]:
        return column(family, **{family.replace(" ", "_"): correlations.estimate})

    columns = (
        column("predictor", predictor=lambda name: name),
        column("what it is", shown=PREDICTORS.__getitem__, wrapped=True),
        *(correlated(*family) for family in results.correlations.items()),
    )
    return Table(
        "correlations", columns, tuple(PREDICTORS), title="Rank correlations with the gain over AdamW"
    )


def setting_table(results: Results) -> Table[Problem]:
    """A row a setting: what was measured before, both losses, and the gain."""

    def predictor(name: str) -> Column[Problem]:
        def median(problem: Problem) -> float:
            return float(np.median(results.measured[problem][name]))

        return column(name.replace("_", " "), places=REPORT, **{name: median})

    def loss(variant: str) -> Column[Problem]:
        def estimate(problem: Problem) -> Estimate:
            scores = results.tuned[Contestant(problem, variant)].scores
            return median_estimate(scores, results.config.confidence)

        return column(variant, **{variant: estimate})

    columns = (
        column("setting", setting=lambda problem: problem.name, wrapped=True),
        *map(predictor, PREDICTORS),
        *map(loss, (MUON, ADAMW)),
        column("gain", gain=results.gain),
    )
    return Table("settings", columns, results.config.settings, title="Gain: ln(loss of AdamW / of Muon)")


def notes(ranked: tuple[Standing, ...], results: Results) -> list[str]:
    """What the tables need said."""
    config = results.config
    edges = [
        contestant.name
        for contestant, tuned in results.tuned.items()
        if contestant.problem != config.main_problem and not tuned.bracketed
    ]
    return [
        marks_note(config.confirm_replicates, config.confidence),
        f"Every learning rate was tuned with the same {config.tuning_runs} runs, and serves the matrices and"
        " Adam's leaves; nothing decays weights.",
        f"Predictors are of the first {config.measured_batches} batches at the initial weights, means over"
        " the hidden matrices; rank correlations are Spearman's, over medians of the seeds, with intervals"
        " from resampled settings and seeds.",
        f"{results.tally}",
        *not_bracketed(ranked),
        *([f"So were those of: {'; '.join(edges)}."] if edges else []),
    ]
