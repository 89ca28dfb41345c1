"""The report of a dependence study: one HTML file that needs no other."""

from html import escape

from experiments.shape_search.dependence import figures
from experiments.shape_search.dependence.results import (
    Results,
    headings,
    matrix_headings,
    matrix_rows,
    notes,
    table_rows,
    title,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "costs": figures.costs_against_reference(results),
        "best_shapes": figures.best_shapes(results),
        "transfer_matrix": figures.transfer_matrix(results),
    }
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    embedded = {name: html_figure(name, image) for name, image in images.items()}
    sections = [
        f"<p class='verdict'>{escape(results.verdict)}</p>",
        f"<p>{escape(title(results))} at the end, lower is better.</p>",
        html_table(headings(results), table_rows(results)),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        *embedded.values(),
        "<h2>Cost in %, rows: shape of; columns: trained in</h2>",
        html_table(matrix_headings(results), matrix_rows(results)),
        "<h2>Claims</h2>",
        html_table(CLAIM_HEADINGS, claim_rows(results.claims)),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(k, str(v)) for k, v in results.dependence.fields.items()]),
    ]
    write_atomically(folder.report, html_page("Does the best shape depend on the setting?", sections))
