"""The findings on the terminal: a table for each section, and a verdict."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.doctor.findings import Finding

SUBJECT_WIDTH = 29


def show_section(console: Console, title: str, findings: Sequence[Finding]) -> None:
    """A table of a mark, what was looked at, and what was found with the advice below it."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("")
    table.add_column(Text(title, style="bold"), min_width=SUBJECT_WIDTH, max_width=SUBJECT_WIDTH)
    table.add_column("", overflow="fold")  # an address is never cut
    for finding in findings:
        table.add_row(_mark(finding), Text(finding.subject), _text(finding))
    console.print(table)
    console.print()


def show_verdict(console: Console, problems: Sequence[Finding]) -> None:
    """ "ready", or what stops studies."""
    if not problems:
        console.print(Text("ready", style="bold green"))
        return
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}:"
    console.print(Text(count, style="bold red"))
    for problem in problems:
        line = f"  {problem.subject}: {problem.found}" + (f"; {problem.advice}" if problem.advice else "")
        console.print(Text(line), soft_wrap=True)


def _mark(finding: Finding) -> Text:
    if finding.stops:
        return Text("✗", style="bold red")
    return Text("!", style="yellow") if finding.advice else Text("✓", style="green")


def _text(finding: Finding) -> Text:
    text = Text(finding.found)
    return text.append(f"\n→ {finding.advice}", style="dim") if finding.advice else text
