"""The findings on the terminal, as winners.json, and as a report: one HTML file that needs no other."""

from html import escape
from typing import Any

from rich.console import Console

from experiments.generalization import figures
from experiments.generalization.claims import claims
from experiments.generalization.results import (
    RANKING_HEADINGS,
    Results,
    halving_headings,
    halving_rows,
    notes,
    ranking_rows,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, claims_json, summary
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.showing.tables import estimate_json, show_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the tables, and what became of the claims."""
    show_table(console, "ranking the gap", RANKING_HEADINGS, ranking_rows(results), (), ())
    title = f"successive halving at n = {results.config.halving_size}"
    headings = halving_headings(results)
    chosen = headings.index("most often chosen")
    show_table(console, title, headings, halving_rows(results), (), (), wrapped=(chosen,))
    found = claims(results)
    lines = (*summary(found), *notes(results))
    show_table(console, "claims", CLAIM_HEADINGS, claim_rows(found), lines, (folder.report, folder.winners))


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json."""
    return {
        "confidence": results.config.confidence,
        "scale": results.standings[0].scale.value,
        "claims": claims_json(claims(results)),
        "predictors": [
            {
                "predictor": name,
                "rank_correlation": estimate_json(results.overall(name)),
                "rank_correlation_at_equal_size": estimate_json(results.equal_size(name)),
                "rank_correlation_by_size": {n: estimate_json(e) for n, e in results.by_size(name).items()},
            }
            for name in results.measured.predictions
        ],
        "halving": [
            {
                "criterion": standing.name,
                "test_loss": estimate_json(standing.score),
                "change_against": {name: estimate_json(c) for name, c in standing.against.items()},
                "ties_with_best": standing.ties_with_best,
                "chosen": [setting._asdict() for setting in results.replayed[standing.name].chosen],
            }
            for standing in results.standings
        ],
    }


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "gaps": figures.gaps(results),
        "correlations": figures.rank_correlations(results),
        "halving": figures.halving(results),
    }
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    found = claims(results)
    sections = [
        *(f"<p class='verdict'>{escape(line)}</p>" for line in summary(found)),
        html_table(CLAIM_HEADINGS, claim_rows(found)),
        html_table(RANKING_HEADINGS, ranking_rows(results)),
        html_table(halving_headings(results), halving_rows(results)),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        *(html_figure(name, image) for name, image in images.items()),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    title = "Does the information criterion predict the gap, and does pruning by it pay?"
    write_atomically(folder.report, html_page(title, sections))
