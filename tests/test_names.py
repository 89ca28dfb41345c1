"""Variables are named by nouns: by no preposition, pronoun or adverb alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKED = ("geometry", "optim", "schedules", "workloads", "tests")
WORDS = frozenset(
    """about above across after against ahead along alone among apart around at away before behind below
    beneath beside between beyond both by down during each elsewhere from here inside into left may middle
    might near neither none nothing of off often on one onto out outside over some something still sure than
    there these they this those through to together toward under up upon what where which whose within
    without""".split()  # noqa: SIM905
)


def variables(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What a module assigns to, loops over and takes as arguments, with the lines.

    Not the fields of classes, which are read with their object's name.
    """
    nodes = list(ast.walk(tree))
    classes = (node for node in nodes if isinstance(node, ast.ClassDef))
    fields = {statement.target for node in classes for statement in node.body if hasattr(statement, "target")}
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in fields:
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def no_nouns(named: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those called by one of the words; where there is a `right`, `left` is its opposite."""
    allowed = {"left"} if "right" in dict(named) else set()
    return [(name, line) for name, line in named if name.strip("_") in WORDS - allowed]


@pytest.mark.parametrize("package", CHECKED)
def test_variables_are_nouns(package):
    modules = [path for path in (ROOT / package).rglob("*.py") if "experiments" not in path.parts]
    assert modules
    assert not [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules
        for name, line in no_nouns(list(variables(ast.parse(path.read_text(encoding="utf-8")))))
    ]
