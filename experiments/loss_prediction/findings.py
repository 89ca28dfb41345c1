"""The findings on the terminal, as winners.json, and as a report: one HTML file that needs no other."""

from html import escape
from typing import Any

import numpy as np
from rich.console import Console

from experiments.loss_prediction import figures
from experiments.loss_prediction.claims import claims, verdict
from experiments.loss_prediction.config import FITTED
from experiments.loss_prediction.ranking import OTHER_SEEDS, SUM, Correlations
from experiments.loss_prediction.results import MOST, WINNER, Results
from experiments.loss_prediction.trials import EQUAL
from experiments.study.options.pairs import workload_text
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, claims_json, summary
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.showing.tables import (
    change_text,
    estimate_json,
    estimate_text,
    marked_name,
    shape_text,
    show_table,
)
from experiments.study.storage.folder import StudyFolder, write_atomically

TITLE = "Does a law fitted on a few loss curves predict unseen schedules?"


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the tables, what became of the claims, and where everything is."""
    show_table(console, setting(results), ranking_headings(results), ranking_rows(results), (), ())
    contest = contest_headings(results)
    shape = contest.index("shape")
    show_table(console, "proposals", contest, contest_rows(results), (), (), wrapped=(shape,))
    found = claims(results)
    lines = (verdict(found, list(results.laws)), *summary(found), *notes(results))
    show_table(console, "claims", CLAIM_HEADINGS, claim_rows(found), lines, (folder.report, folder.winners))


def setting(results: Results) -> str:
    """What was trained, in a line."""
    config = results.config
    workload = workload_text(config.workload, config.workload_options)
    return f"{workload}, {config.optimizer}, batch {config.batch_size}, {config.num_steps} steps"


def ranking_headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of rank correlations."""
    shapes, best = results.config.num_shapes, results.config.num_best
    return "compared at", "ranked by", f"all {shapes} shapes [interval]", f"the best {best} [interval]"


def ranking_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `ranking_headings`; a dash for what is the same for all shapes."""
    confidence = results.config.confidence

    def cell(found: Correlations, name: str) -> str:
        return estimate_text(found.estimate(name, confidence)) if name in found.names else "–"

    return [
        (pool, name, cell(results.overall[pool], name), cell(results.among_best[pool], name))
        for pool in results.pools
        for name in (*results.laws, SUM, OTHER_SEEDS)
    ]


def contest_headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of proposals."""
    against = (f"vs {name}, {results.scale.unit}" for name in (WINNER, MOST))
    return "compared at", "schedule", "shape", "peak LR", "loss [interval]", *against


def contest_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `contest_headings`, of each pool the best first."""
    return [
        (
            pool,
            marked_name(standing),
            f"{standing.winner.candidate.family.name} {shape_text(standing.winner.candidate.params)}",
            f"{standing.winner.candidate.base_lr:.3g}",
            estimate_text(standing.score),
            *(change_text(standing.against.get(name), standing.scale) for name in (WINNER, MOST)),
        )
        for pool, standings in results.contests.items()
        for standing in standings
    ]


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, counts, equal = results.config, results.counts, results.pools[EQUAL].scored
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
        f"{sum(counts.values()):,} runs, of which {counts.get('diverged', 0):,} diverged, in"
        f" {results.seconds:.0f} s of training.",
    ]


def _law_note(name: str, results: Results) -> str:
    law = results.laws[name]
    constants = ", ".join(f"{key} {float(value):.3g}" for key, value in law.constants._asdict().items())
    errors = (
        f"{np.median(np.abs(pool.predictions[name] / pool.scored - 1)):.1%} at {which}"
        for which, pool in results.pools.items()
    )
    return (
        f"The {name}: {constants}. Error on the fitted curves {law.error:.2g} (RMS of the log); median"
        f" relative error of an unseen final loss {' and '.join(errors)}."
    )


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json."""
    confidence, found = results.config.confidence, claims(results)
    return {
        "workload": results.config.workload,
        "metric": results.config.metric,
        "confidence": confidence,
        "scale": results.scale.value,
        "verdict": verdict(found, list(results.laws)),
        "laws": {
            name: {
                "constants": {key: float(value) for key, value in law.constants._asdict().items()},
                "count_warmup": law.count_warmup,
                "fit_error": law.error,
            }
            for name, law in results.laws.items()
        },
        "claims": claims_json(found),
        "rank_correlations": [
            {
                "pool": pool,
                "predictor": name,
                "all": estimate_json(results.overall[pool].estimate(name, confidence)),
                "best": estimate_json(results.among_best[pool].estimate(name, confidence)),
            }
            for pool, correlations in results.overall.items()
            for name in correlations.names
        ],
        "contests": [
            {
                "pool": pool,
                "schedule": standing.name,
                "family": standing.winner.candidate.family.name,
                "params": dict(standing.winner.candidate.params),
                "base_lr": standing.winner.candidate.base_lr,
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
        f"<p class='verdict'>{escape(verdict(found, list(results.laws)))}</p>",
        f"<p>{escape(setting(results))}</p>",
        *(f"<p>{escape(line)}</p>" for line in summary(found)),
        html_table(CLAIM_HEADINGS, claim_rows(found)),
        embedded["predictions"],
        html_table(ranking_headings(results), ranking_rows(results)),
        embedded["contest"],
        html_table(contest_headings(results), contest_rows(results)),
        embedded["curves"],
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    write_atomically(folder.report, html_page(TITLE, sections))
