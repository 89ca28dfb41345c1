"""The report of a study of path geometry: one HTML file that needs no other."""

from html import escape

from experiments.path_geometry import figures
from experiments.path_geometry.results import (
    PATH_HEADINGS,
    Results,
    notes,
    path_rows,
    schedule_headings,
    schedule_rows,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, summary
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "along_training": figures.along_training(results),
        "against_batch": figures.against_batch(results),
        "schedules": figures.schedules(results),
        "scores": figures.scores(results),
    }
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    embedded = {name: html_figure(name, image) for name, image in images.items()}
    sections = [
        f"<p class='verdict'>{escape(results.verdict)}</p>",
        f"<p>{escape(results.setting)}</p>",
        *(f"<p>{escape(line)}</p>" for line in summary(results.claims)),
        html_table(CLAIM_HEADINGS, claim_rows(results.claims)),
        embedded["along_training"],
        embedded["against_batch"],
        "<h2>The schedule that RSI / EB² prescribes</h2>",
        html_table(schedule_headings(results), schedule_rows(results)),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        embedded["schedules"],
        embedded["scores"],
        "<h2>Every measured path</h2>",
        html_table(PATH_HEADINGS, path_rows(results)),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    write_atomically(folder.report, html_page("Does training follow the geometry of its path?", sections))
