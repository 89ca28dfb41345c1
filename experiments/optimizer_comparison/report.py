"""The report of an optimizer comparison: one HTML file that needs no other."""

from html import escape

from experiments.optimizer_comparison import figures
from experiments.optimizer_comparison.results import Results, headings, notes, table_rows
from experiments.study.folder import StudyFolder, write_atomically
from experiments.study.report import html_figure, html_page, html_table


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "scores": figures.scores(results),
        "paces": figures.paces(results),
        "tuning": figures.tuning(results),
    }
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    sections = [
        f"<p class='verdict'>{escape(results.verdict)}</p>",
        f"<p>{escape(results.setting)}; score: {escape(results.config.metric)} at the end, lower is"
        " better.</p>",
        html_table(headings(results), table_rows(results)),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        *(html_figure(name, image) for name, image in images.items()),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    write_atomically(folder.report, html_page("Which optimizer, at equal tuning budget?", sections))
