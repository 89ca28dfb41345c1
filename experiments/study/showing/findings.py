"""What a study tells, in order: on the terminal, in winners.json, and as a report in one file."""

import base64
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple, TypeVar

from rich.console import Console

from experiments.study.options.config import StudyConfig
from experiments.study.showing.claims import Claim, claims_table, summary
from experiments.study.showing.table import Table, as_json, column
from experiments.study.showing.terminal import print_lines, print_table
from experiments.study.storage.folder import StudyFolder, make_folder, write_atomically

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto;
  padding: 0 1rem; color: #222 }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top }
td:nth-child(n+3) { white-space: nowrap }
th { background: #f5f5f5 }
img { display: block; margin: 1rem 0; max-width: 100% }
.verdict { font-size: 1.25rem; font-weight: 600 }
.note { color: #666; margin: .2rem 0 }
"""


def html_page(title: str, sections: Iterable[str]) -> str:
    """A whole page; the sections are HTML already."""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(sections)}</body></html>\n"
    )


def html_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text cells."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_figure(name: str, png: bytes) -> str:
    """A PNG image inside the page itself."""
    return f"<img alt='{escape(name)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


ResultsT = TypeVar("ResultsT")


class Figure(NamedTuple):
    """A figure by the name of its file, and what draws it as a PNG image."""

    name: str
    draw: Callable[[], bytes]


def drawn(results: ResultsT, *draws: Callable[[ResultsT], bytes]) -> list[Figure]:
    """Figures of a study's results, each by the name of what draws it."""
    return [Figure(draw.__name__, partial(draw, results)) for draw in draws]


Content = Table | Figure | str  # a text is a note


class Part(NamedTuple):
    """A part of a report, without a heading where the title is empty. Notes of the first part are printed
    too."""

    title: str
    content: Sequence[Content]


class Findings(NamedTuple):
    """All that a study tells.

    Attributes:
      setting: what was trained, in a line.
      verdict: the answer, in a sentence or two.
      parts: in the order in which they are told, after the claims.
      claims: those of papers, if any.
      facts: what winners.json holds beside verdict, claims and tables.
    """

    setting: str
    verdict: str
    parts: Sequence[Part]
    claims: Sequence[Claim] = ()
    facts: Mapping[str, Any] = {}

    @property
    def tables(self) -> list[Table]:
        tables = [content for part in self.parts for content in part.content if isinstance(content, Table)]
        return [*tables, *self._claims]

    @property
    def notes(self) -> list[str]:
        """Those that are printed."""
        return [content for part in self.parts[:1] for content in part.content if isinstance(content, str)]

    def json(self) -> dict[str, Any]:
        """The content of winners.json."""
        tables = {table.key: table.json() for table in self.tables if table.key}
        return {**as_json(self.facts), "verdict": self.verdict, **tables}

    def timed_keys(self) -> set[str]:
        """The keys of winners.json, at any depth, that the clock decides."""
        return {key for table in self.tables for key in table.timed_keys()}

    @property
    def _claims(self) -> list[Table]:
        return [claims_table(self.claims)] if self.claims else []

    def report_parts(self, config: StudyConfig) -> Iterator[Part]:
        """All parts of the report, those about claims and config too."""
        yield Part("", [*summary(self.claims), *self._claims])
        yield from self.parts
        fields = column("field", field=lambda pair: pair[0]), column("value", value=lambda pair: str(pair[1]))
        yield Part(
            "Config",
            [Table("", fields, [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)])],
        )


def facts(config: StudyConfig, *names: str, **others: Any) -> dict[str, Any]:
    """Those of a config that winners.json holds beside its tables, by name, and others."""
    return {name: getattr(config, name) for name in names} | others


def write_report(findings: Findings, question: str, config: StudyConfig, folder: StudyFolder) -> None:
    """Draw all figures into the study's folder, and the report that contains them."""
    make_folder(folder.figures)
    sections = [f"<p class='verdict'>{escape(findings.verdict)}</p>", f"<p>{escape(findings.setting)}</p>"]
    for part in findings.report_parts(config):
        if part.title:
            sections.append(f"<h2>{escape(part.title)}</h2>")
        sections += [_section(content, folder) for content in part.content]
    write_atomically(folder.report, html_page(question, sections))


def show(findings: Findings, folder: StudyFolder, console: Console) -> None:
    """Print the tables that a terminal has room for, the claims, the verdict, the notes, and where everything
    is."""
    setting = findings.setting  # the title of the first table, or above one that has another
    for part in (*findings.parts, Part("", findings._claims)):
        for table in part.content:
            if isinstance(table, Table) and table.shown("terminal"):
                if setting and table.title:
                    print_lines(console, [setting])
                print_table(console, table.title or setting or part.title, table)
                setting = ""
    print_lines(console, [*summary(findings.claims), findings.verdict, *findings.notes])
    print_lines(console, [str(folder.report), str(folder.winners)], broken=False)


def _section(content: Content, folder: StudyFolder) -> str:
    if isinstance(content, str):
        return f"<p class='note'>{escape(content)}</p>"
    if isinstance(content, Table):
        heading = f"<h3>{escape(content.title)}</h3>" if content.title else ""
        return heading + html_table(content.headings("report"), content.cells("report"))
    image = content.draw()
    write_atomically(folder.figures / f"{content.name}.png", image)
    return html_figure(content.name, image)
