"""Groups of options that studies share: each is a dataclass that a config inherits beside its own fields."""

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

import tyro
from jaxtyping import Array, Float

from experiments.study.options.checks import BelowOne, Count, Positive
from experiments.study.options.config import GROUPS, Group, StudyConfig
from schedules import FAMILIES


@dataclass(frozen=True)
class Stepped:
    """Runs of one length."""

    group: ClassVar[Group] = "training"

    batch_size: Count = 64
    """Examples in a step."""
    num_steps: Count = 100
    """Steps in a run."""


@dataclass(frozen=True)
class Scheduled(Stepped):
    """Runs with one schedule."""

    group: ClassVar[Group] = "training"

    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of every run's learning rate."""
    warmup: BelowOne = 0.1
    """Fraction of the run in which the learning rate rises."""

    @property
    def multipliers(self) -> Float[Array, "steps"]:
        """The learning rate of every step, as a fraction of the peak."""
        return FAMILIES[self.schedule].multipliers({"warmup": self.warmup}, self.num_steps)


class Probed:
    """For configs of runs that are measured along the way, from `probe_every` steps to the next.

    Attributes:
      least_probes: measurements of a run that the study needs.
    """

    least_probes: ClassVar[int]

    @property
    def probed_steps(self) -> range:
        """Before which updates a run is measured."""
        return range(0, self.num_steps, self.probe_every)

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("num_steps", "probe_every") and len(self.probed_steps) < self.least_probes:
            yield (
                f"probe_every: must leave at least {self.least_probes} probed steps of"
                f" num_steps={self.num_steps}, got {self.probe_every}."
            )


@dataclass(frozen=True)
class Trained:
    """How every run is computed."""

    group: ClassVar[Group] = "training"

    microbatches: Count = 1
    """Equal pieces of a batch whose gradients are accumulated one after the other, to save memory."""
    clip_norm: Positive | None = None
    """Gradients of a larger norm, over all parameters, are scaled down to it; none when not given."""
    average_decay: BelowOne | None = None
    """Evaluate an exponential moving average of the weights with this decay; they themselves without."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What losses and gradients are computed in; the weights are float32."""
    data_parallel: Count = 1
    """Devices that compute a run together, each a part of every batch; it changes last bits too."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        pieces = self.microbatches * self.data_parallel
        for name in filter(self.sound, self.batch_fields):
            sizes = getattr(self, name)
            for size in sizes if isinstance(sizes, tuple) else (sizes,):
                if self.sound("microbatches", "data_parallel") and size % pieces:
                    yield (
                        f"{name}: must be a multiple of microbatches × data_parallel = {pieces}, got {size}."
                    )


def option_groups(config: StudyConfig) -> dict[Group, Any]:
    """The fields of a config by group, each a dataclass of options that holds their values and takes any
    others: what is wrong with them is told at once, later."""
    kind = type(config)
    hints, explained = get_type_hints(kind, include_extras=True), explanations(kind)
    members: dict[Group, list] = {group: [] for group in GROUPS}
    for field in dataclasses.fields(config):
        option = Annotated[hints[field.name], tyro.conf.arg(help=explained[field.name])]
        default = dataclasses.field(default_factory=lambda name=field.name: getattr(config, name))
        members[_group(kind, field.name)].append((field.name, option, default))
    classes = {
        group: dataclasses.make_dataclass(group, fields, frozen=True, namespace={"__doc__": GROUPS[group]})
        for group, fields in members.items()
        if fields
    }
    return {group: options() for group, options in classes.items()}


@functools.cache
def explanations(kind: type) -> dict[str, str]:
    """The docstring of every field of a dataclass; that of a base where a field only has another default.

    >>> explanations(Scheduled)["num_steps"]
    'Steps in a run.'
    """
    texts = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body
            texts |= {
                field.target.id: " ".join(text.value.value.split())
                for field, text in itertools.pairwise(body)
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
            }
    return texts


def _group(kind: type, name: str) -> Group:
    """That of the class which has the field first."""
    first = next(base for base in reversed(kind.__mro__) if name in inspect.get_annotations(base))
    return vars(first).get("group", "what")
