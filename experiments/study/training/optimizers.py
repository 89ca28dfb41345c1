"""The optimizers that studies train with, each as a function and as the code that a user would write."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import optax
from jax.typing import ArrayLike

import optim
from geometry import EUCLIDEAN, SIGN, SPECTRAL, Geometry

DECAY_MODES = ("scaled", "independent")  # of the learning rate
BETAS = ("b1", "b2")  # decay rates of Adam's moments, as optax calls them


class Optimizer(NamedTuple):
    """An optimizer of a study.

    Attributes:
      build: (schedule, weight decay, **betas) → transformation; the decay is multiplied by the learning rate.
        It may be given the momentum too, which replaces the usual one.
      geometry: whose steepest direction it takes, with or without momentum; Adam's is the sign's where its
        averages are short.
      code: the same as source text, with {weight_decay} to fill in, and {betas}: ", b1=0.8" or nothing.
      decays: whether it has weight decay; where not, `build` ignores it.
      betas: the names of the betas that `build` takes.
      momentum: the name under which `build` takes its momentum, the decay rate of its average of gradients,
        a number or a traced one; None where it has none.
      usual_momentum: the one it has otherwise.
    """

    build: Callable[..., optax.GradientTransformation]
    geometry: Geometry
    code: str
    decays: bool = True
    betas: tuple[str, ...] = ()
    momentum: str | None = None
    usual_momentum: float = 0.0

    def with_momentum(
        self, schedule: optax.Schedule, weight_decay: ArrayLike, momentum: ArrayLike
    ) -> optax.GradientTransformation:
        """The transformation with that momentum."""
        return self.build(schedule, weight_decay, **{self.momentum: momentum})

    @property
    def imports(self) -> str:
        """The module that `code` needs beside optax, if any."""
        return "optim" if "optim." in self.code else ""


def with_independent_decay(
    transformation: optax.GradientTransformation, decay: float
) -> optax.GradientTransformation:
    """Beside the update, θ ← θ - decay · θ at every step, whatever the learning rate."""
    return optax.chain(transformation, optax.add_decayed_weights(-decay))


def _momentum(
    schedule: optax.Schedule, weight_decay: ArrayLike, momentum: ArrayLike = 0.9
) -> optax.GradientTransformation:
    return optax.chain(
        optax.trace(momentum), optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(schedule)
    )


def _optax_muon(schedule: optax.Schedule, weight_decay: ArrayLike) -> optax.GradientTransformation:
    return optax.contrib.muon(
        schedule, consistent_rms=0.2, weight_decay=weight_decay, adam_weight_decay=weight_decay
    )


def _matrix_method(
    method: Callable[..., optax.GradientTransformation], momentum: str | None = "momentum"
) -> Optimizer:
    """A method whose updates have Adam's root mean square, so that one learning rate serves the fallback."""

    def build(schedule: optax.Schedule, weight_decay: ArrayLike, **momentum: ArrayLike):
        return method(
            schedule, scale="rms", weight_decay=weight_decay, fallback_weight_decay=weight_decay, **momentum
        )

    return Optimizer(
        build,
        SPECTRAL,
        f'optim.{method.__name__}(schedule, scale="rms", weight_decay={{weight_decay!r}},'
        " fallback_weight_decay={weight_decay!r})",
        momentum=momentum,
        usual_momentum=0.95 if momentum else 0.0,
    )


OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {
        "sgd": Optimizer(lambda lr, wd: optax.sgd(lr), EUCLIDEAN, "optax.sgd(schedule)", decays=False),
        "momentum": Optimizer(
            _momentum,
            EUCLIDEAN,
            "optax.chain(optax.trace(0.9), optax.add_decayed_weights({weight_decay!r}),"
            " optax.scale_by_learning_rate(schedule))",
            momentum="momentum",
            usual_momentum=0.9,
        ),
        "adam": Optimizer(
            lambda lr, wd, **betas: optax.adam(lr, **betas),
            SIGN,
            "optax.adam(schedule{betas})",
            decays=False,
            betas=BETAS,
            momentum="b1",
            usual_momentum=0.9,
        ),
        "adamw": Optimizer(
            lambda lr, wd, **betas: optax.adamw(lr, weight_decay=wd, **betas),
            SIGN,
            "optax.adamw(schedule, weight_decay={weight_decay!r}{betas})",
            betas=BETAS,
            momentum="b1",
            usual_momentum=0.9,
        ),
        "lion": Optimizer(
            lambda lr, wd, **betas: optax.lion(lr, weight_decay=wd, **betas),
            SIGN,
            "optax.lion(schedule, weight_decay={weight_decay!r}{betas})",
            betas=BETAS,
        ),
        "optax_muon": Optimizer(
            _optax_muon,
            SPECTRAL,
            "optax.contrib.muon(schedule, consistent_rms=0.2, weight_decay={weight_decay!r},"
            " adam_weight_decay={weight_decay!r})",
        ),
        "sign_descent": Optimizer(
            lambda lr, wd: optim.sign_descent(lr, weight_decay=wd),
            SIGN,
            "optim.sign_descent(schedule, weight_decay={weight_decay!r})",
        ),
        "signum": Optimizer(
            lambda lr, wd, **momentum: optim.signum(lr, weight_decay=wd, **momentum),
            SIGN,
            "optim.signum(schedule, weight_decay={weight_decay!r})",
            momentum="momentum",
            usual_momentum=0.9,
        ),
        "spectral_descent": _matrix_method(optim.spectral_descent, momentum=None),
        "muon": _matrix_method(optim.muon),
        "dion": _matrix_method(optim.dion),
        "orth_dion": _matrix_method(optim.orth_dion),
    }
)
