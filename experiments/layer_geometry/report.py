"""The report of a study of layer geometry: one HTML file that needs no other."""

from html import escape

from experiments.layer_geometry import figures
from experiments.layer_geometry.results import (
    LAYER_HEADINGS,
    Results,
    choice_headings,
    choice_rows,
    layer_rows,
    notes,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, summary
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "suited": figures.suited(results),
        "noise": figures.noise(results),
        "path": figures.path(results),
        "choices": figures.choices(results),
        "scores": figures.scores(results),
    }
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    embedded = {name: html_figure(name, image) for name, image in images.items()}
    sections = [
        f"<p class='verdict'>{escape(results.verdict)}</p>",
        f"<p>{escape(results.setting)}</p>",
        embedded["suited"],
        html_table(LAYER_HEADINGS, layer_rows(results)),
        "<h2>What the papers claim</h2>",
        *(f"<p>{escape(line)}</p>" for line in summary(results.claims)),
        html_table(CLAIM_HEADINGS, claim_rows(results.claims)),
        "<h2>Sign and spectral descent, and the index between them</h2>",
        html_table(choice_headings(results), choice_rows(results)),
        embedded["scores"],
        embedded["choices"],
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        "<h2>Noise and path</h2>",
        embedded["noise"],
        embedded["path"],
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    write_atomically(folder.report, html_page("Which geometry on which layer?", sections))
