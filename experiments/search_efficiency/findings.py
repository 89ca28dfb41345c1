"""The findings on the terminal, as winners.json, and as a report: one HTML file that needs no other."""

from html import escape
from typing import Any

import numpy as np
from rich.console import Console

from experiments.search_efficiency import figures
from experiments.search_efficiency.claims import claims
from experiments.search_efficiency.results import (
    Results,
    headings,
    notes,
    rows,
    winner_headings,
    winner_rows,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, claims_json, summary
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.showing.tables import estimate_json, finite_or_none, show_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the table, and what became of the claims."""
    for family in results.config.families:
        show_table(console, f"{family}: {results.setting}", headings(results), rows(results, family), (), ())
    found = claims(results)
    lines = (*summary(found), *notes(results))
    show_table(console, "claims", CLAIM_HEADINGS, claim_rows(found), lines, (folder.report, folder.winners))


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json."""
    confidence, bias = results.config.confidence, results.bias
    return {
        "confidence": confidence,
        "scale": results.scale.value,
        "claims": claims_json(claims(results)),
        "best_known": {
            family: {**known._asdict(), "near_optimal_up_to": results.near(family)}
            for family, known in results.judged.known.items()
        },
        "strategies": [
            {
                "family": family,
                "strategy": strategy,
                "budget": of.budget,
                "median_cost": estimate_json(of.median_cost(confidence)),
                "fraction_near_optimal": estimate_json(of.reached(confidence)),
                "fraction_near_optimal_at_end": estimate_json(of.reached_at_end(confidence)),
                "cost_over_random": estimate_json(results.ratio(family, strategy)),
                "above_best_known": estimate_json(of.excess(confidence)),
                "costs": [finite_or_none(cost) for cost in of.costs.tolist()],
            }
            for (family, strategy), of in results.efficiency.items()
        ],
        "selection_bias": bias and {name: estimate_json(value) for name, value in bias._asdict().items()},
        "winners": [
            {
                "family": search.family,
                "seed": search.seed,
                "naive": winner.naive,
                "fresh": float(np.median(winner.fresh)),
                "truth": float(np.median(winner.truth)),
            }
            for search, winner in results.judged.winners.items()
        ],
    }


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {"reached": figures.reached(results), "excesses": figures.excesses(results)}
    if results.bias:
        images["selection_bias"] = figures.selection_bias(results)
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    found = claims(results)
    sections = [
        *(f"<p class='verdict'>{escape(line)}</p>" for line in summary(found)),
        f"<p>{escape(results.setting)}</p>",
        html_table(CLAIM_HEADINGS, claim_rows(found)),
        *(
            f"<h2>{family}</h2>{html_table(headings(results), rows(results, family))}"
            for family in results.config.families
        ),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        *(html_figure(name, image) for name, image in images.items()),
        *_winners(results),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    title = "How many runs does a search need to find a near-optimal shape?"
    write_atomically(folder.report, html_page(title, sections))


def _winners(results: Results) -> list[str]:
    """The table of selection bias, where there is any."""
    if not results.judged.winners:
        return []
    return [
        "<h2>The default strategy's winners</h2>",
        html_table(winner_headings(results), winner_rows(results)),
    ]
