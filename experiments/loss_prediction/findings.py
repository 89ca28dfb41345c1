"""The findings on the terminal, as winners.json, and as a report: one HTML file that needs no other."""

from html import escape
from typing import Any

import numpy as np
from rich.console import Console

from experiments.loss_prediction import figures
from experiments.loss_prediction.claims import claims, pays
from experiments.loss_prediction.ranking import LAW, OTHER_SEEDS, SUM
from experiments.loss_prediction.results import WINNER, Results
from experiments.loss_prediction.trials import EQUAL
from experiments.study.claims import CLAIM_HEADINGS, claim_rows, claims_json, summary
from experiments.study.folder import StudyFolder, write_atomically
from experiments.study.options import workload_text
from experiments.study.report import html_figure, html_page, html_table
from experiments.study.tables import (
    change_text,
    estimate_json,
    estimate_text,
    marked_name,
    shape_text,
    show_table,
)

CONTEST_HEADINGS = ("compared at", "schedule", "shape", "peak LR", "loss [interval]", f"vs {WINNER}, %")
TITLE = "Does a law fitted on a few loss curves predict unseen schedules?"


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the tables, what became of the claims, and where everything is."""
    show_table(console, setting(results), ranking_headings(results), ranking_rows(results), (), ())
    shape = CONTEST_HEADINGS.index("shape")
    show_table(console, "proposals", CONTEST_HEADINGS, contest_rows(results), (), (), wrapped=(shape,))
    found = claims(results)
    lines = (verdict(results), *summary(found), *notes(results))
    show_table(console, "claims", CLAIM_HEADINGS, claim_rows(found), lines, (folder.report, folder.winners))


def setting(results: Results) -> str:
    """What was trained, in a line."""
    config = results.config
    workload = workload_text(config.workload, config.workload_options)
    return f"{workload}, {config.optimizer}, batch {config.batch_size}, {config.num_steps} steps"


def verdict(results: Results) -> str:
    """Whether the law is of use to a search here."""
    found = claims(results)
    held = sum(claim.held for claim in found)
    return f"The law {'pays' if pays(results) else 'does NOT pay'} here: {held} of {len(found)} claims held."


def ranking_headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of rank correlations."""
    shapes, best = results.config.num_shapes, results.config.num_best
    return "compared at", "ranked by", f"all {shapes} shapes [interval]", f"the best {best} [interval]"


def ranking_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `ranking_headings`; a dash where a predictor says the same of all shapes."""
    return [
        (pool, name, *(_correlation_text(found[pool], name, results) for found in _found(results)))
        for pool in results.pools
        for name in (LAW, SUM, OTHER_SEEDS)
    ]


def _found(results: Results):
    return results.overall, results.among_best


def _correlation_text(found, name: str, results: Results) -> str:
    return estimate_text(found.estimate(name, results.config.confidence)) if name in found.names else "–"


def contest_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under CONTEST_HEADINGS, of each pool the best first."""
    return [
        (
            pool,
            marked_name(standing),
            f"{standing.winner.schedule.shape.family.name} "
            + shape_text(standing.winner.schedule.shape.params),
            f"{standing.winner.schedule.base_lr:.3g}",
            estimate_text(standing.score),
            change_text(standing.against.get(WINNER)),
        )
        for pool, standings in results.contests.items()
        for standing in standings
    ]


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, counts, fitted = results.config, results.counts, results.curves
    errors = {
        name: np.median(np.abs(pool.predictions[LAW] / pool.scored - 1))
        for name, pool in results.pools.items()
    }
    spread = results.pools[EQUAL].scored
    constants = ", ".join(f"{name} {float(value):.3g}" for name, value in fitted.law._asdict().items())
    low, high = config.smallest_share * config.largest_rate, config.largest_rate
    return [
        f"Fitted on {len(fitted.schedules)} runs, the medians of {config.fit_replicates} seeds at"
        f" {config.curve_points} points from {config.curve_start:.0%} of the run on: relative error"
        f" {fitted.error:.2g} (RMS of the log). {constants}.",
        f"Every peak lies between the fitted ones, {low:.3g} and {high:.3g}. At equal Σ LR all shapes have a"
        f" mean learning rate of {low:.3g}; their losses lie between {np.min(spread):.3g} and"
        f" {np.max(spread):.3g}, the median {np.median(spread):.3g}.",
        "The median relative error of the predicted final loss is "
        + ", ".join(f"{error:.1%} at {name}" for name, error in errors.items())
        + ".",
        f"Rank correlations are Spearman's, with medians of {config.score_replicates} fresh seeds;"
        f" {config.confidence:.0%} intervals from resampled shapes. The best are those of"
        f" {config.choose_replicates} other seeds, whose own rank correlation shows what noise leaves to"
        f" predict. {SUM} is the same for all shapes at equal Σ LR.",
        f"Proposals and the {WINNER}, the lowest score among the best, by the medians of"
        f" {config.confirm_replicates} fresh seeds. * best; = not distinguishable from it; changes are paired"
        " by seed.",
        f"{sum(counts.values()):,} runs, of which {counts.get('diverged', 0):,} diverged, in"
        f" {results.seconds:.0f} s of training.",
    ]


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json."""
    confidence = results.config.confidence
    return {
        "workload": results.config.workload,
        "metric": results.config.metric,
        "confidence": confidence,
        "verdict": verdict(results),
        "law": {name: float(value) for name, value in results.curves.law._asdict().items()},
        "fit_error": results.curves.error,
        "claims": claims_json(claims(results)),
        "rank_correlations": [
            {
                "pool": pool,
                "predictor": name,
                "all": estimate_json(results.overall[pool].estimate(name, confidence)),
                "best": estimate_json(results.among_best[pool].estimate(name, confidence)),
            }
            for pool, found in results.overall.items()
            for name in found.names
        ],
        "contests": [
            {
                "pool": pool,
                "schedule": standing.name,
                "family": standing.winner.schedule.shape.family.name,
                "params": dict(standing.winner.schedule.shape.params),
                "base_lr": standing.winner.schedule.base_lr,
                "score": estimate_json(standing.score),
                "change_against": {name: estimate_json(c) for name, c in standing.against.items()},
            }
            for pool, standings in results.contests.items()
            for standing in standings
        ],
    }


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "predictions": figures.predictions(results),
        "curves": figures.curves(results),
        "contest": figures.contest(results),
    }
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    found = claims(results)
    embedded = {name: html_figure(name, image) for name, image in images.items()}
    sections = [
        f"<p class='verdict'>{escape(verdict(results))}</p>",
        f"<p>{escape(setting(results))}</p>",
        *(f"<p>{escape(line)}</p>" for line in summary(found)),
        html_table(CLAIM_HEADINGS, claim_rows(found)),
        embedded["predictions"],
        html_table(ranking_headings(results), ranking_rows(results)),
        embedded["contest"],
        html_table(CONTEST_HEADINGS, contest_rows(results)),
        embedded["curves"],
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    write_atomically(folder.report, html_page(TITLE, sections))
