"""The command `steepest`: this project's `experiments`, wherever it is started.

Many a checkout has a package of that name, and a search path that begins with it, as PYTHONPATH may. So the
command begins in a module whose name nobody else has.
"""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

NAME = "experiments"
OWN = Path(__file__).resolve().parent / NAME


def main() -> int:
    """Run the command that the arguments name; returns the exit status."""
    first = _first_on_path()
    if first not in (None, OWN):
        print(f"steepest: runs {OWN}, not {first}, which Python would take here.", file=sys.stderr)
        sys.path.insert(0, str(OWN.parent))
    from experiments.__main__ import main as run

    return run()


def _first_on_path() -> Path | None:
    """The package or module that `python -m` finds in the current folder or on the search path, if any."""
    spec = PathFinder.find_spec(NAME, ["", *sys.path])
    if spec is None:
        return None
    return Path(next(iter(spec.submodule_search_locations or [spec.origin]))).resolve()
