"""Variables are named by nouns: by no preposition, pronoun or adverb alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("geometry", "optim", "schedules", "workloads", "experiments", "tests")
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


def misnamed(source: str) -> list[tuple[str, int]]:
    """The variables called by one of the words; where there is a `right`, `left` is its opposite."""
    found = list(variables(ast.parse(source)))
    words = WORDS - {"left"} if "right" in dict(found) else WORDS
    return [(name, line) for name, line in found if name.strip("_") in words]


def test_a_variable_that_is_no_noun_is_found():
    source = "def f(of, left):\n    for _one in of: nothing = lambda beside: beside\nclass C:\n    at: int\n"
    assert {name for name, _ in misnamed(source)} == {"of", "left", "_one", "nothing", "beside"}
    assert not misnamed("left, right = size")


@pytest.mark.parametrize("folder", FOLDERS)
def test_variables_are_nouns(folder):
    modules = list((ROOT / folder).rglob("*.py"))
    assert modules
    assert not [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules
        for name, line in misnamed(path.read_text(encoding="utf-8"))
    ]
