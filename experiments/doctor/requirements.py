"""What steepest requires, read from its own metadata, and whether an installed version meets it."""

import importlib.metadata
import operator
import re
from typing import NamedTuple

NOT_FOR_STUDIES = ("test",)  # extras that no study needs
COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
MODULES = {"orbax-checkpoint": "orbax.checkpoint", "scikit-learn": "sklearn"}  # where the names differ


class Requirement(NamedTuple):
    """A package with the bounds of its version, such as ">=0.10", and the extra of steepest that brings it;
    without an extra, every installation does."""

    package: str
    bounds: str
    extra: str

    @property
    def module(self) -> str:
        return MODULES.get(self.package, self.package.replace("-", "_"))

    @property
    def remedy(self) -> str:
        """What installs it."""
        wanted = f"steepest[{self.extra}]" if self.extra else self.package + self.bounds
        return f"pip install '{wanted}'"


def requirements(distribution: str = "steepest") -> list[Requirement]:
    """What a distribution and its extras require for studies; nothing when it is not installed."""
    if installed_version(distribution) is None:
        return []
    found = map(parsed, importlib.metadata.requires(distribution) or ())
    return [
        requirement
        for requirement in found
        if requirement.package != distribution and requirement.extra not in NOT_FOR_STUDIES
    ]


def parsed(line: str) -> Requirement:
    """A line of a distribution's metadata.

    >>> parsed('cmaes>=0.12; extra == "search"')
    Requirement(package='cmaes', bounds='>=0.12', extra='search')
    """
    text, _, marker = line.partition(";")
    package, bounds = re.fullmatch(r"\s*([\w.-]+)(?:\[[^]]*\])?\s*\(?([^)]*)\)?\s*", text).groups()
    extra = re.search(r"extra\s*==\s*[\"']([\w.-]+)[\"']", marker)
    return Requirement(package.lower(), bounds.replace(" ", ""), extra[1] if extra else "")


def installed_version(package: str) -> str | None:
    """The version that is installed; None where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def meets(version: str, bounds: str) -> bool:
    """Whether a version lies within bounds, by the numbers of its release.

    >>> meets("0.10.2", ">=0.9,<1"), meets("0.2", ">=0.2.8"), meets("3.0", "==3.0.0")
    (True, False, True)
    """
    for bound in filter(None, bounds.split(",")):
        comparison, limit = re.fullmatch(r"([<>=!]=?)([\w.]+)", bound).groups()
        if not COMPARISONS[comparison](_release(version), _release(limit)):
            return False
    return True


def remedy(error: Exception) -> str:
    """What installs the package that an import missed; nothing where no requirement brings it."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    missed = error.name.partition(".")[0]
    return next(
        (
            requirement.remedy
            for requirement in requirements()
            if requirement.module.partition(".")[0] == missed
        ),
        "",
    )


def _release(version: str) -> tuple[int, ...]:
    """The numbers at the start, without trailing zeros: 3.0 and 3.0.0 are the same release."""
    numbers = [int(number) for number in re.match(r"[\d.]*", version)[0].strip(".").split(".") if number]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
