"""The requirements that the doctor reads, against the standard's own reader of them."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from experiments.doctor.requirements import meets, parsed, requirements

ROOT = Path(__file__).parents[2]


def test_required_are_the_dependencies_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    expected = {
        (wanted.name, wanted.specifier, extra)
        for extra, lines in extras.items()
        for wanted in map(Requirement, lines)
        if extra != "test" and wanted.name != "steepest"
    }
    assert {
        (requirement.package, SpecifierSet(requirement.bounds), requirement.extra)
        for requirement in requirements()
    } == expected


RELEASES = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@given(
    RELEASES, st.lists(st.tuples(st.sampled_from([">=", "<=", "==", "!=", ">", "<"]), RELEASES), max_size=3)
)
def test_versions_are_compared_as_the_standard_says(installed, bounds):
    bounds = ",".join(map("".join, bounds))
    assert meets(installed, bounds) == (installed in SpecifierSet(bounds))


@pytest.mark.parametrize(
    "line",
    ["numpy (>=2,<3)", "jax[cuda]>=0.10", "cmaes >= 0.12 ; python_version > \"3\" and extra == 'search'"],
)
def test_lines_of_metadata_are_read_as_the_standard_says(line):
    read, expected = parsed(line), Requirement(line)
    assert (read.package, SpecifierSet(read.bounds)) == (expected.name, expected.specifier)
    assert read.extra == ("search" if expected.marker else "")
