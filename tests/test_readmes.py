"""The READMEs lead where they say."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("[a-z]*/**/README.md"))]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_linked_and_shown_is_there(readme):
    links = re.findall(r"\]\(([^)#]+)", readme.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (readme.parent / link).exists()] == []


def test_every_study_and_package_has_a_readme():
    told = {str(path.parent.relative_to(ROOT)) for path in READMES}
    packages = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("experiments/*/__init__.py")}
    assert told >= {"geometry", "optim", "schedules", "workloads"} | packages - {"experiments/study"}
