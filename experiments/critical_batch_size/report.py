"""The report of a study of critical batch sizes: one HTML file that needs no other."""

from html import escape

from experiments.critical_batch_size import figures
from experiments.critical_batch_size.results import (
    CRITICAL_HEADINGS,
    CURVE_HEADINGS,
    EFFECT_HEADINGS,
    PREDICTION_HEADINGS,
    Results,
    critical_rows,
    curve_rows,
    effect_rows,
    notes,
    prediction_rows,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, summary
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "steps": figures.steps(results),
        "samples": figures.samples(results),
        "critical_batches": figures.critical_batches(results),
    }
    if results.effects:
        images["effects"] = figures.effects(results)
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    embedded = {name: html_figure(name, image) for name, image in images.items()}
    sections = [
        f"<p class='verdict'>{escape(results.verdict)}</p>",
        f"<p>{escape(results.setting)}</p>",
        *(f"<p>{escape(line)}</p>" for line in summary(results.claims)),
        html_table(CLAIM_HEADINGS, claim_rows(results.claims)),
        embedded["steps"],
        embedded["samples"],
        html_table(CRITICAL_HEADINGS, critical_rows(results)),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        "<h2>What predicts the critical batch</h2>",
        embedded["critical_batches"],
        html_table(PREDICTION_HEADINGS, prediction_rows(results)),
        "<h2>What changes it</h2>",
        embedded.get("effects", ""),
        html_table(EFFECT_HEADINGS, effect_rows(results)),
        "<h2>Every measured point</h2>",
        html_table(CURVE_HEADINGS, curve_rows(results)),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    write_atomically(folder.report, html_page("How large a batch pays, and what tells it?", sections))
