"""The report of a study of best schedules: one HTML file that needs no other."""

from html import escape

from experiments.optimal_schedule import figures
from experiments.optimal_schedule.results import (
    FAMILY_HEADINGS,
    SETTING_HEADINGS,
    Results,
    family_rows,
    notes,
    setting_rows,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, summary
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "schedules": figures.schedules(results),
        "gaps": figures.gaps(results),
        "mean_field": figures.mean_field(results),
    }
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    embedded = {name: html_figure(name, image) for name, image in images.items()}
    sections = [
        f"<p class='verdict'>{escape(results.verdict)}</p>",
        f"<p>{escape(results.title)}</p>",
        *(f"<p>{escape(line)}</p>" for line in summary(results.claims)),
        html_table(SETTING_HEADINGS, setting_rows(results)),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        embedded["gaps"],
        embedded["schedules"],
        embedded["mean_field"],
        "<h2>Claims</h2>",
        html_table(CLAIM_HEADINGS, claim_rows(results.claims)),
        "<h2>Every family's best and its projection on the best found</h2>",
    ]
    for outcome in results.outcomes:
        sections += [
            f"<h3>{escape(outcome.setting.label)}</h3>",
            html_table(FAMILY_HEADINGS, family_rows(outcome)),
        ]
    sections += [
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    title = "How far are schedule families from the best schedule?"
    write_atomically(folder.report, html_page(title, sections))
