"""Two groups of parameters with a curve each: options that searches of schedules share."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from experiments.study.options.checks import EACH_ONCE, Check, RateRange
from experiments.study.options.config import Group
from schedules import Family, Interval
from schedules.groups import in_groups

TWO_NAMES = Check(
    "two names of letters, digits, - and _",
    lambda groups: len(groups) in (0, 2) and all(re.fullmatch(r"[\w-]+", name) for name in groups),
)


@dataclass(frozen=True)
class ParameterGroups:
    """Which groups of parameters have a curve each."""

    group: ClassVar[Group] = "search"

    groups: Annotated[tuple[str, ...], EACH_ONCE, TWO_NAMES] = ()
    """Two groups of parameters with a curve each, such as matrices and others. All parameters have one curve
    when not given."""
    shapes: Literal["shared", "own"] = "shared"
    """Whether the two curves share their shape, or each has one of its own, of the same family."""
    ratios: RateRange = (0.01, 100.0)
    """Lowest and highest ratio of the second group's base learning rate to the first's, searched on a
    logarithmic scale."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        for name in ("shapes", "ratios"):
            if not self.groups and getattr(self, name) != getattr(ParameterGroups, name):
                yield f"{name}: are those of two groups, and there are none."

    def grouped(self, family: Family) -> Family:
        """The family with a curve for each group, where there are groups."""
        if not self.groups:
            return family
        return in_groups(family, Interval(*self.ratios, log=True), self.shapes == "own")
