"""The optimizers that studies train with, as the calls that make them: to be made, or written as code."""

import operator
from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import optax
from jax.typing import ArrayLike

import optim
from geometry import EUCLIDEAN, SIGN, SPECTRAL, Geometry

PACKAGES = SimpleNamespace(optax=optax, optim=optim)
SCHEDULE, DECAY = "schedule", "weight decay"  # what a call is given for these
GROUPS = ("matrices", "others")  # of parameters, and what a call is given for the schedule of each
BETAS = ("b1", "b2")  # decay rates of Adam's moments, as optax calls them
THRESHOLD = 30.0  # of attention logits
IVON_EXAMPLES = 1000  # its noise is that of a posterior of so many, whatever it is trained on


class Call(NamedTuple):
    """A transformation: its function, as users find it, and what that is called with: values, and the
    transformations inside of it."""

    function: str
    keywords: Mapping[str, Any]

    def __call__(self, *schedules: optax.Schedule) -> optax.GradientTransformation:
        make = operator.attrgetter(self.function)(PACKAGES)
        return make(**{name: _made(value, schedules) for name, value in self.keywords.items()})

    def changed(self, **keywords: Any) -> "Call":
        """The same with these."""
        return Call(self.function, {**self.keywords, **keywords})

    def decayed(self, weight_decay: ArrayLike) -> "Call":
        """The same with that weight decay, here and inside."""
        return Call(self.function, {name: _decayed(v, weight_decay) for name, v in self.keywords.items()})

    def __str__(self) -> str:
        return f"{self.function}({', '.join(f'{name}={_text(v)}' for name, v in self.keywords.items())})"


class Chain(NamedTuple):
    """Transformations one after the other; written as code, schedules are called `SCHEDULE`, or `GROUPS`."""

    calls: tuple[Call, ...]

    def __call__(self, *schedules: optax.Schedule) -> optax.GradientTransformation:
        made = [call(*schedules) for call in self.calls]
        return optax.chain(*made) if len(made) > 1 else made[0]

    def decayed(self, weight_decay: ArrayLike) -> "Chain":
        """The same with that weight decay."""
        return Chain(tuple(call.decayed(weight_decay) for call in self.calls))

    def __str__(self) -> str:
        return f"optax.chain({', '.join(map(str, self.calls))})" if len(self.calls) > 1 else str(*self.calls)


class Unscheduled(NamedTuple):
    """A chain before it has its schedule, for a transformation that makes one of its own for it."""

    chain: Chain

    def __str__(self) -> str:
        return f"lambda {SCHEDULE}: {self.chain}"


def call(function: str, **keywords: Any) -> Call:
    return Call(function, keywords)


class Optimizer(NamedTuple):
    """An optimizer of a study.

    Attributes:
      geometry: whose steepest direction it takes, with or without momentum; Adam's is the sign's where its
        averages are short.
      steps: the calls that make it, one after the other; the first takes betas and momentum.
      betas: the names of the betas that it takes.
      momentum: the name under which it takes its momentum, the decay rate of its average of gradients, a
        number or a traced one; None where it has none.
      usual_momentum: the one it has otherwise.
      others_rate: the name under which it takes a schedule of its own for what is no matrix; None where all
        parameters have one.
      around: what is called with the chain of the steps as its `inner`, if anything is; with the chain before
        it has a schedule where it is what the schedule drives.
      asks: what it asks of a training loop beside the gradient, in words; `workloads.trainer` with the hooks
        of `optim` gives it.
    """

    geometry: Geometry
    steps: tuple[Call, ...]
    betas: tuple[str, ...] = ()
    momentum: str | None = None
    usual_momentum: float = 0.0
    others_rate: str | None = None
    around: Call | None = None
    asks: str = ""

    @property
    def decays(self) -> bool:
        """Whether it has weight decay; where not, it ignores it."""
        return any(step.decayed(0.0) != step for step in self.steps)

    @property
    def groups(self) -> tuple[str, ...]:
        """Of parameters, which may have a schedule each."""
        return GROUPS if self.others_rate else ()

    @property
    def grouped(self) -> "Optimizer":
        """It with a schedule for each of its groups."""
        first, *others = self.steps
        rates = dict(zip(("learning_rate", self.others_rate), GROUPS, strict=True))
        return self._replace(steps=(first.changed(**rates), *others))

    def chain(self, weight_decay: ArrayLike, **changes: ArrayLike) -> Chain:
        """It with that decay, which the learning rate multiplies, and other betas or momentum."""
        first, *others = self.steps
        steps = Chain((first.changed(**changes), *others)).decayed(weight_decay)
        if self.around is None:
            return steps
        driven = any(value is SCHEDULE for value in self.around.keywords.values())
        return Chain((self.around.changed(inner=Unscheduled(steps) if driven else steps),))

    def build(
        self, schedule: optax.Schedule, weight_decay: ArrayLike, **changes: ArrayLike
    ) -> optax.GradientTransformation:
        """The transformation that the schedule drives."""
        return self.chain(weight_decay, **changes)(schedule)

    def with_momentum(
        self, schedule: optax.Schedule, weight_decay: ArrayLike, momentum: ArrayLike
    ) -> optax.GradientTransformation:
        """The transformation with that momentum."""
        return self.build(schedule, weight_decay, **{self.momentum: momentum})


def _made(value: Any, schedules: Sequence[optax.Schedule]) -> Any:
    if isinstance(value, Unscheduled):
        return value.chain
    if isinstance(value, Call | Chain):
        return value(*schedules)
    names = (SCHEDULE,) if len(schedules) == 1 else GROUPS
    return next((schedule for name, schedule in zip(names, schedules, strict=True) if value is name), value)


def _decayed(value: Any, weight_decay: ArrayLike) -> Any:
    if isinstance(value, Call | Chain):
        return value.decayed(weight_decay)
    return weight_decay if value is DECAY else value


def _text(value: Any) -> str:
    if isinstance(value, Call | Chain | Unscheduled) or any(value is name for name in (SCHEDULE, *GROUPS)):
        return str(value)
    return repr(value)


def _single(function: str, geometry: Geometry, momentum: float | None = None, **keywords: Any) -> Optimizer:
    """An optimizer that one call makes, with weight decay, and momentum where there is a usual one."""
    step = call(function, learning_rate=SCHEDULE, weight_decay=DECAY, **keywords)
    return Optimizer(geometry, (step,), (), momentum and "momentum", momentum or 0.0)


def _matrix_method(name: str, momentum: float | None = 0.95) -> Optimizer:
    """A method whose updates have Adam's root mean square, so that one learning rate serves the fallback."""
    single = _single(f"optim.{name}", SPECTRAL, momentum, scale="rms", fallback_weight_decay=DECAY)
    return single._replace(others_rate="fallback_learning_rate")


def _stepped(*direction: Call) -> tuple[Call, ...]:
    """A direction, weight decay, and the learning rate of both."""
    return (
        *direction,
        call("optax.add_decayed_weights", weight_decay=DECAY),
        call("optax.scale_by_learning_rate", learning_rate=SCHEDULE),
    )


def _on_matrices(*links: Call) -> Optimizer:
    """Muon's direction followed by these links on hidden matrices, and AdamW elsewhere."""
    momentum = call("optim.scale_by_momentum", momentum=0.95, nesterov=True)
    matrices = Chain((momentum, call("optim.scale_by_polar", scale="rms"), *links))
    return Optimizer(SPECTRAL, (call("optim.routed", matrices=matrices, others=ADAMW.steps[0]),))


MOMENTUM = Optimizer(EUCLIDEAN, _stepped(call("optax.trace", decay=0.9)), (), "decay", 0.9)
SAM = MOMENTUM._replace(
    around=call("optim.sharpness_aware", radius=0.05),
    asks="its update takes grad_fn: params → the gradient of the same batch there, clipped as the first is",
)
ADAM = Optimizer(SIGN, (call("optax.adam", learning_rate=SCHEDULE),), BETAS, "b1", 0.9)
ADAMW = _single("optax.adamw", SIGN)._replace(betas=BETAS, momentum="b1", usual_momentum=0.9)
MUON = _matrix_method("muon")

OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {
        "sgd": Optimizer(EUCLIDEAN, (call("optax.sgd", learning_rate=SCHEDULE),)),
        "momentum": MOMENTUM,
        "sam": SAM,
        "asam": SAM._replace(around=SAM.around.changed(radius=0.5, adaptive=True)),
        "adam": ADAM,
        "adamp": ADAM._replace(around=call("optim.norm_control")),
        "adamw": ADAMW,
        "schedule_free": Optimizer(
            SIGN,
            (call("optax.adamw", b1=0.0, learning_rate=SCHEDULE, weight_decay=DECAY),),
            around=call("optim.schedule_free", learning_rate=SCHEDULE),
            asks="its parameters are for gradients; evaluate optim.evaluation_params(state, params)",
        ),
        "diffgrad": Optimizer(SIGN, _stepped(call("optim.scale_by_diffgrad")), BETAS, "b1", 0.9),
        "orthogonal_adamw": Optimizer(SIGN, (call("optim.orthogonal_gradient"), *ADAMW.steps)),
        "ivon": _single("optim.ivon", EUCLIDEAN, examples=IVON_EXAMPLES)._replace(
            betas=BETAS,
            momentum="b1",
            usual_momentum=0.9,
            asks="each gradient is taken at what optim.sample(key, state, params) draws before",
        ),
        "lion": _single("optax.lion", SIGN)._replace(betas=BETAS),
        "optax_muon": _single(
            "optax.contrib.muon", SPECTRAL, consistent_rms=0.2, adam_weight_decay=DECAY
        )._replace(others_rate="adam_learning_rate"),
        "sign_descent": _single("optim.sign_descent", SIGN),
        "signum": _single("optim.signum", SIGN, 0.9),
        "spectral_descent": _matrix_method("spectral_descent", None),
        "muon": MUON,
        "muonh": _on_matrices(call("optim.hyperball", learning_rate=SCHEDULE)),
        "normuon": _on_matrices(*_stepped(call("optim.scale_by_neuron_rms"))),
        "muon_cautious": MUON._replace(
            steps=(MUON.steps[0].changed(decay=call("optim.Decay", cautious=True)),)
        ),
        "muonclip": MUON._replace(
            steps=(*MUON.steps, call("optim.qk_clip", threshold=THRESHOLD)),
            asks="its update takes max_logits: the largest attention logits of each head, or what makes them",
        ),
        "dion": _matrix_method("dion"),
        "orth_dion": _matrix_method("orth_dion"),
    }
)
