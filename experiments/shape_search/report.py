"""The report of a shape search: one HTML file that needs no other."""

from collections.abc import Mapping
from html import escape

from experiments.shape_search import candidate_figures, near_optimality_figures, winner_figures
from experiments.shape_search.config import DRAWING
from experiments.shape_search.near_optimality import check_headings, check_rows
from experiments.shape_search.results import Results, headings, notes, table_rows
from experiments.study.showing.page import html_figure, html_page, html_table
from experiments.study.storage.folder import StudyFolder, write_atomically


def write_report(results: Results, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    config = results.config
    overview = {
        "winning_shapes": winner_figures.winning_shapes(results),
        "near_best_shapes": winner_figures.near_best_shapes(results),
        "scores": winner_figures.winner_scores(results),
        "importances": candidate_figures.importances(results),
        "allocation": candidate_figures.allocation(results),
        "learning_rates": candidate_figures.score_against_rate(results),
    }
    if config.strategy in DRAWING:
        overview["distributions"] = candidate_figures.score_distributions(results)
    checks = _check_figures(results)
    parameters = {
        f"parameters_{standing.name}": candidate_figures.score_against_parameters(results, standing)
        for standing in results.standings
    }
    for name, image in {**overview, **checks, **parameters}.items():
        write_atomically(folder.figures / f"{name}.png", image)
    sections = [
        f"<p class='verdict'>{escape(results.verdict)}</p>",
        f"<p>{escape(results.setting)}; score: {escape(config.metric)} at the end, lower is better.</p>",
        html_table(headings(results), table_rows(results)),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes(results)),
        *(html_figure(name, image) for name, image in overview.items()),
        *_check_sections(results, checks),
        "<h2>Score against each shape parameter</h2>",
        *(html_figure(name, image) for name, image in parameters.items()),
        "<h2>Config</h2>",
        html_table(("field", "value"), [(name, str(value)) for name, value in vars(config).items()]),
    ]
    write_atomically(folder.report, html_page("Which learning-rate shape?", sections))


def _check_sections(results: Results, figures: Mapping[str, bytes]) -> list[str]:
    if not results.verdicts:
        return []
    return [
        "<h2>How near-optimal are the best?</h2>",
        html_table(check_headings(results.verdicts), check_rows(results.verdicts)),
        *(html_figure(name, image) for name, image in figures.items()),
    ]


def _check_figures(results: Results) -> dict[str, bytes]:
    verdicts = results.verdicts
    if not verdicts:
        return {}
    sweeps = {f"sweeps_{name}": near_optimality_figures.sweeps(verdict) for name, verdict in verdicts.items()}
    return {"found_shapes": near_optimality_figures.found_shapes(tuple(verdicts.values())), **sweeps}
