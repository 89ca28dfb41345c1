"""How near-optimal the best winners are, as text and JSON."""

from collections.abc import Mapping
from typing import Any

from experiments.study.showing.tables import change_text, estimate_json, finite_or_none, shape_text
from schedules.search import Finding, Verdict


def check_headings(verdicts: Mapping[str, Verdict]) -> tuple[str, ...]:
    """The headings of the table of verdicts, which share a scale."""
    unit = next(iter(verdicts.values())).scale.unit
    return "winner", "verdict", f"best change found, {unit}", "in", "base LR", "shape"


def check_rows(verdicts: Mapping[str, Verdict]) -> list[tuple[str, ...]]:
    """The cells under `check_headings`, a row a winner that was checked."""
    rows = []
    for name, verdict in verdicts.items():
        change, found = verdict.best.change, verdict.best.found
        place = found.family.name, f"{found.base_lr:.3g}", shape_text(found.params)
        rows.append((name, str(verdict), change_text(change, verdict.scale, 1), *place))
    return rows


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict for winners.json; the shapes found in place of the winner's come with it."""
    return {
        "verdict": str(verdict),
        "scale": verdict.scale.value,
        "improved": verdict.improved,
        "delta": finite_or_none(verdict.delta),
        "own_family": _finding_json(verdict.own),
        "free": None if verdict.free is None else _finding_json(verdict.free),
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "family": finding.found.family.name,
        "params": dict(finding.found.params),
        "base_lr": finding.found.base_lr,
        "change": estimate_json(finding.change),
        "delta": finite_or_none(finding.delta),
    }
