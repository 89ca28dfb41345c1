"""The last link of every descent method: the learning rate and the weight decay."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from geometry.matrices import leaf_path, leaves_by_path
from optim.options import at_step, check_choice, check_number, could_be_zero, is_zero
from optim.plan import tell

Coupling = Literal["learning_rate", "schedule", "independent"]
Mask = PyTree | Callable[[PyTree], PyTree]


@dataclass(frozen=True)
class Decay:
    """How weight decay follows the learning rate, and which leaves it spares.

    With weight decay λ, each step removes this fraction of a weight:

    - "learning_rate": η_t λ, as in PyTorch's and optax's AdamW;
    - "schedule": (η_t / η_peak) λ, the schedule's shape without its height (Loshchilov & Hutter, 2019);
    - "independent": λ.

    Attributes:
      coupling: one of these.
      peak_learning_rate: η_peak, for "schedule" alone.
      mask: a tree of booleans shaped as the parameters or as their beginning, where one boolean stands for
        all leaves below it, or a function from the parameters to such a tree; leaves that are False do not
        decay. All do when None.
      cautious: whether only those weights decay that the step makes smaller, or leaves as they are
        (arXiv:2510.12402).
    """

    coupling: Coupling = "learning_rate"
    peak_learning_rate: float | None = None
    mask: Mask | None = None
    cautious: bool = False

    def __post_init__(self):
        check_choice("coupling", self.coupling, get_args(Coupling))
        if (self.coupling == "schedule") != (self.peak_learning_rate is not None):
            raise ValueError(
                "peak_learning_rate must be given with the coupling 'schedule', and only then, got"
                f" {self.peak_learning_rate} with {self.coupling!r}"
            )
        if self.peak_learning_rate is not None and not self.peak_learning_rate > 0:
            raise ValueError(f"peak_learning_rate must be positive, got {self.peak_learning_rate}")

    def fraction(
        self, weight_decay: ArrayLike, learning_rate: optax.ScalarOrSchedule
    ) -> optax.ScalarOrSchedule | ArrayLike:
        """The fraction of a weight that a step removes, a schedule where the learning rate is one.

        Raises ValueError when a number is negative or infinite, or the fraction is 1 or more.
        """
        check_number("learning_rate", learning_rate, 0)
        check_number("weight_decay", weight_decay, 0, 1 if self.coupling == "independent" else math.inf)
        if self.coupling == "independent" or is_zero(weight_decay):
            return weight_decay
        factor = weight_decay / self.peak_learning_rate if self.coupling == "schedule" else weight_decay
        if callable(learning_rate):
            return lambda count: factor * learning_rate(count)
        check_number("the learning rate times weight_decay", factor * learning_rate, 0, 1)
        return factor * learning_rate


COUPLED = Decay()


class StepState(NamedTuple):
    """Updates so far; η and δ of the last one, or of the first one to come.

    They have no name of a hyperparameter, so that `optax.tree_utils.tree_get` and `tree_set` find those that
    `optax.inject_hyperparams` keeps, and no others.
    """

    count: Int[Array, ""]
    eta: Float[Array, ""]
    delta: Float[Array, ""]


def descend(
    learning_rate: optax.ScalarOrSchedule,
    decay: optax.ScalarOrSchedule | ArrayLike = 0.0,
    mask: Mask | None = None,
    *,
    cautious: bool = False,
) -> optax.GradientTransformation:
    """Turn a direction D into the update -η_t D - δ_t W, in float32 or wider, kept in the dtype of D.

    Args:
      learning_rate: η, a number or a schedule.
      decay: δ, the fraction of a weight that a step removes, a number or a schedule; see `Decay.fraction`.
      mask: which leaves decay; see `Decay`.
      cautious: whether δ counts only where D · W ≥ 0.

    Raises:
      ValueError: a number is negative or infinite, or δ is 1 or more; or, in an update, decay without params.
        There a traced δ, such as an injected one, makes NaN of what decays, unless it is 0.
    """
    check_number("learning_rate", learning_rate, 0)
    check_number("decay", decay, 0, 1)
    decays_at_all = not is_zero(decay)

    def rates(count):
        # copies, or two parts of a state might hold one buffer, which could not be donated; not weakly
        # typed, so that a state from init and one from update have the same type
        return tuple(jnp.array(at_step(value, count), dtype=float) for value in (learning_rate, decay))

    def init(params):
        count = jnp.zeros([], jnp.int32)
        state = StepState(count, *rates(count))
        decaying = _decaying(params, mask)
        tell({path: {"decays": decays_at_all and d, "step": state} for path, d in decaying.items()})
        return state

    def update(updates, state, params=None):
        eta, delta = rates(state.count)
        if params is None and not could_be_zero(decay):
            raise ValueError("params are needed for weight decay: call update(updates, state, params)")
        decaying = _decaying(updates if params is None else params, mask)

        def step(key_path, direction, weight=None):
            stepped = -eta * direction
            if decays_at_all and decaying[leaf_path(key_path)]:
                lost = jnp.where(delta == 0, 0, jnp.nan) if weight is None else delta * weight
                if cautious and weight is not None:
                    lost = jnp.where(jnp.sign(direction) * jnp.sign(weight) >= 0, lost, 0)
                stepped -= lost
            return stepped.astype(direction.dtype)

        trees = (updates,) if params is None or not decays_at_all else (updates, params)
        stepped = jax.tree_util.tree_map_with_path(step, *trees)
        return stepped, StepState(optax.safe_increment(state.count), eta, delta)

    return optax.GradientTransformation(init, update)


def _decaying(params: PyTree, mask: Mask | None) -> dict[str, bool]:
    """Whether each leaf decays, by path: under `optax.partition` a mask may have leaves that params lacks."""
    paths = list(leaves_by_path(params))
    if mask is None or not paths:
        return dict.fromkeys(paths, True)
    tree = mask(params) if callable(mask) else mask
    decays = {leaf_path(path): bool(d) for path, d in jax.tree_util.tree_leaves_with_path(tree)}
    covering = {path: [prefix for prefix in _prefixes(path) if prefix in decays] for path in paths}
    missing = [path for path, prefixes in covering.items() if not prefixes]
    if missing:
        raise ValueError(f"the decay mask must cover every leaf, but lacks {', '.join(missing)}")
    return {path: decays[prefixes[0]] for path, prefixes in covering.items()}


def _prefixes(path: str) -> list[str]:
    """ "a/b" → "", "a" and "a/b"."""
    return ["", *accumulate(path.split("/"), "{}/{}".format)]
