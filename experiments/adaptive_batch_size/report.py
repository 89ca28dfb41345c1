"""The report of a study of adaptive batch sizes: one HTML file that needs no other."""

from html import escape

from experiments.adaptive_batch_size import figures
from experiments.adaptive_batch_size.results import Results
from experiments.adaptive_batch_size.tables import (
    COST_HEADINGS,
    PUBLISHED_HEADINGS,
    cost_rows,
    loss_headings,
    loss_rows,
    notes,
    published_rows,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, summary
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    images = {
        "savings": figures.savings(results),
        "levels": figures.levels(results),
        "losses": figures.losses(results),
        "trajectories": figures.trajectories(results),
        "tuning": figures.tuning(results),
    }
    for name, image in images.items():
        write_atomically(folder.figures / f"{name}.png", image)
    sections = [
        f"<p class='verdict'>{escape(results.verdict)}</p>",
        *(f"<p>{escape(line)}</p>" for line in summary(results.claims)),
        html_table(CLAIM_HEADINGS, claim_rows(results.claims)),
        f"<h2>Every optimizer and batch</h2><p>{escape(results.setting)}</p>",
        html_table(loss_headings(results), loss_rows(results)),
        html_table(COST_HEADINGS, cost_rows(results)),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        *(html_figure(name, image) for name, image in images.items()),
        "<h2>Beside the paper</h2><p>Published: validation loss of a Llama with 160M parameters,"
        " constant batches of 64 and 256 sequences, and how many steps fewer the matched batch took"
        f" (arXiv:2602.03001). Here: the {escape(results.config.metric)} of a far smaller problem; they"
        " stand beside each other to be seen, not to agree.</p>",
        html_table(PUBLISHED_HEADINGS, published_rows(results)),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(results.config).items()]),
    ]
    write_atomically(folder.report, html_page("Does a batch that grows with the noise save steps?", sections))
