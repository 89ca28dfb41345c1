"""Tables, claims and findings: one declaration is a cell, a value of winners.json, and a verdict."""

import math

import numpy as np
import pytest

from experiments.study.showing import claims
from experiments.study.showing.claims import Claim, claims_table, summary
from experiments.study.showing.findings import Findings, Part
from experiments.study.showing.table import REPORT, Table, as_json, column
from schedules.search import Estimate

COLUMNS = (
    column("name", name=lambda row: row[0]),
    column("score", score=lambda row: Estimate(row[1], row[1] - 1, row[1] + 1)),
    column(
        "half",
        "{half:.1f} of {score}".format,
        half=lambda row: row[1] / 2,
        score=lambda row: row[1],
        timed=True,
    ),
    column("length", shown=lambda row: str(len(row[0])), places=REPORT),
    column(square=lambda row: np.float32(row[1]) ** 2),
)
ROWS = [("a", 4.0), ("bc", math.nan)]


def test_a_column_is_declared_once_for_cell_and_file():
    table = Table("rows", COLUMNS, ROWS)
    assert table.headings("terminal") == ["name", "score", "half"]
    assert table.cells("terminal") == [["a", "4 [3, 5]", "2.0 of 4.0"], ["bc", "not known", "nan of nan"]]
    assert table.headings("report") == ["name", "score", "half", "length"]
    assert [cells[-1] for cells in table.cells("report")] == ["1", "2"]
    unknown = {"value": None, "low": None, "high": None}
    assert table.json() == [
        {"name": "a", "score": 4.0, "half": 2.0, "square": 16.0},
        {"name": "bc", "score": None, "half": None, "square": None},
    ]
    assert Table("rows", COLUMNS[:2], ROWS).json()[1] == {"name": "bc", "score": unknown}
    assert table.timed_keys() == {"half", "score"}


def test_rows_by_name_are_an_object():
    assert Table("rows", (COLUMNS[0], COLUMNS[4]), ROWS[:1], by_name=True).json() == {"a": {"square": 16.0}}


def test_a_table_of_the_report_alone_is_not_on_the_terminal():
    table = Table("", COLUMNS, ROWS, places=REPORT)
    assert (len(table.shown("report")), table.shown("terminal")) == (4, [])


def test_any_value_is_json():
    nested = {
        1: Estimate(np.float64(1), -math.inf, math.nan),
        "rows": (np.arange(2), Table("", COLUMNS[:1], ROWS)),
    }
    assert as_json(nested) == {
        "1": {"value": 1.0, "low": None, "high": None},
        "rows": [[0, 1], [{"name": "a"}, {"name": "bc"}]],
    }


EFFECT = Estimate(2.0, 1.5, 3.0)


@pytest.mark.parametrize(
    ("bound", "held"),
    [
        (claims.above(1.4), True),
        (claims.above(1.5), False),  # the bound itself is not above
        (claims.above(1.9), False),
        (claims.below(3.1), True),
        (claims.below(3.0), False),
        (claims.below(2.5), False),
        (claims.at_most(2.0), True),
        (claims.at_most(1.9), False),
        (claims.at_least(2.0), True),
        (claims.at_least(2.1), False),
        (claims.holds(1.5), True),
        (claims.holds(3.0), True),
        (claims.holds(3.1), False),
        (claims.holds(1.4), False),
    ],
)
def test_a_bound_decides_the_verdict(bound, held):
    assert Claim("statement", "subject", EFFECT, bound).held is held


@pytest.mark.parametrize("bound", [claims.above(0), claims.below(9), claims.at_most(9), claims.holds(0)])
def test_nothing_is_held_of_what_is_not_known(bound):
    assert Claim("statement", "subject", Estimate(math.nan, math.nan, math.nan), bound).held is False


def test_claims_about_the_same_come_together_and_none_is_lost():
    told = [
        Claim(s, who, EFFECT, claims.above(b)) for s, who, b in (("x", "a", 1), ("y", "a", 1), ("x", "b", 2))
    ]
    table = claims_table(told)
    assert [cells[:2] + cells[3:] for cells in table.cells("terminal")] == [
        ["x", "a", "above 1", "yes"],
        ["x", "b", "above 2", "NO"],
        ["y", "a", "above 1", "yes"],
    ]
    assert summary(told) == [
        "x, expected above 1: held for a; did NOT hold for b.",
        "y, expected above 1: held for a.",
    ]


def test_findings_say_everything_once():
    table = Table("rows", COLUMNS[:1], ROWS)
    claim = Claim("x", "a", EFFECT, claims.above(1))
    findings = Findings(
        "setting", "verdict", [Part("", [table, "printed"]), Part("b", ["not"])], [claim], {"k": 1}
    )
    assert findings.notes == ["printed"]
    assert findings.json() == {
        "k": 1,
        "verdict": "verdict",
        "rows": [{"name": "a"}, {"name": "bc"}],
        "claims": [
            {
                "statement": "x",
                "subject": "a",
                "effect": {"value": 2.0, "low": 1.5, "high": 3.0},
                "expected": "above 1",
                "held": True,
            }
        ],
    }
