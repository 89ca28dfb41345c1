"""IVON: a Gaussian over the weights, learnt at the cost of Adam."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, UInt32

from geometry.precision import widened, widened_zeros
from optim.ascent import GradientFunction, check_gradient_function, check_whole
from optim.hooks import offers
from optim.options import at_step, check_choice, check_number, check_positive

REPARAMETRISATION, HUTCHINSON = "reparametrisation", "hutchinson"
_STREAMS = {jax.random.normal: 0, jax.random.rademacher: 1}  # of one key


class IvonState(NamedTuple):
    """The Gaussian around the parameters, and what the noise of the last sample is made again from.

    Attributes:
      count: updates so far.
      average: the running average of the gradients, without its correction.
      hessian: h, of every weight.
      precision: N and δ: the variance is 1/(N (h + δ)).
      keys: the words of the key of each sample.
      pending: whether a sample was drawn after the last update.
    """

    count: Int[Array, ""]
    average: PyTree
    hessian: PyTree
    precision: Float[Array, "2"]
    keys: UInt32[Array, "samples words"]
    pending: Bool[Array, ""]

    def sample(self, key: PRNGKeyArray, params: PyTree) -> tuple[PyTree, "IvonState"]:
        """What is drawn around `params`, several samples stacked, and the state that knows of them."""
        keys = jax.random.key_data(jax.random.split(key, len(self.keys)))
        state = self._replace(keys=keys, pending=jnp.ones_like(self.pending))
        drawn = jax.vmap(_displaced, (None, 0))(params, _noises(state))
        return jax.tree.map(lambda leaf: leaf[0], drawn) if len(keys) == 1 else drawn, state

    def deviations(self) -> PyTree:
        """Of every weight."""
        examples, weight_decay = self.precision
        return jax.tree.map(lambda h: jax.lax.rsqrt(examples * (h + weight_decay)), self.hessian)


def ivon(
    learning_rate: optax.ScalarOrSchedule,
    *,
    examples: ArrayLike,
    hessian_init: ArrayLike = 1.0,
    weight_decay: ArrayLike = 1e-4,
    samples: int = 1,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99999,
    clip: ArrayLike | None = None,
    estimator: str = REPARAMETRISATION,
) -> optax.GradientTransformationExtraArgs:
    """Learn a mean m, the parameters, and a variance 1/(N (h + δ)) of every weight (arXiv:2402.17641).

        w = m + ε/√(N (h + δ)),  g = ∇L(w),  f = N (w - m) g (h + δ)
        ḡ ← β₁ ḡ + (1 - β₁) g
        h ← β₂ h + (1 - β₂) f + ½ (1 - β₂)² (h - f)²/(h + δ)
        m ← m - α (h₀ + δ) clip((ḡ/(1 - β₁ᵗ) + δ m)/(h + δ), ±ξ)

    with g and f averaged over the samples. E f is the Hessian's diagonal, and of h + δ a step leaves half or
    more, so that it stays positive. The loss is a mean over examples, and its gradient is to be taken at what
    `sample` draws before every update:

    >>> from optim import sample
    >>> tx = ivon(0.1, examples=1000)
    >>> w, gradient = jnp.ones(2), jax.grad(lambda w: jnp.sum(w**2))
    >>> state = tx.init(w)
    >>> drawn, state = sample(jax.random.key(0), state, w)
    >>> updates, state = tx.update(gradient(drawn), state, w)
    >>> bool(jnp.all(drawn != w)), [round(float(s), 4) for s in posterior(state)]
    (True, [0.0316, 0.0316])

    Noise is not kept but made again from its key, with a key of its own for each leaf: one for all would
    couple the leaves. Ranks that share a batch must draw by the same key and average their gradients before.
    With `optax.MultiSteps` around this, draw once for the gradients that make a step. h moves by 1 - β₂ⁿ of
    its way in n steps: below 10⁵, the default β₂ leaves momentum with fixed noise.

    Args:
      learning_rate: α, a number or a schedule; one that decays.
      examples: N, the number of training examples.
      hessian_init: h₀.
      weight_decay: δ, the precision of the prior over N.
      samples: with several, `sample` draws as many on a leading axis, and `update` needs `part_gradients`,
        the gradient at each, of the same batch or of equal parts of it, stacked likewise.
      b1: β₁ in [0, 1).
      b2: β₂ in [0, 1).
      clip: ξ; there is none when None.
      estimator: f as above; or "hutchinson", f = u (∇²L(w) u) of random signs u, exact where the Hessian is
        diagonal, for which `update` needs `grad_fn`, params → gradient of the same batch ((params, part) with
        several samples), and takes one product with the Hessian more.

    Raises:
      ValueError: an option is outside what it may be; at init, `params` are a masked part; in an update,
        `params`, `part_gradients` or `grad_fn` are missing, or nothing was drawn since the last one, where
        inside of jit the updates are NaN.
    """
    check_number("learning_rate", learning_rate, 0)
    check_positive("examples", examples)
    check_positive("hessian_init", hessian_init)
    if clip is not None:
        check_positive("clip", clip)
    check_number("weight_decay", weight_decay, 0)
    check_number("b1", b1, 0, 1)
    check_number("b2", b2, 0, 1)
    check_choice("estimator", estimator, (REPARAMETRISATION, HUTCHINSON))
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")

    def init(params):
        check_whole(params, "ivon")
        average = jax.tree.map(widened_zeros, params)
        hessian = jax.tree.map(lambda zeros: jnp.full_like(zeros, hessian_init), average)
        keys = jax.random.key_data(jax.random.split(jax.random.key(0), samples))
        precision = jnp.array([examples, weight_decay], dtype=float)
        return IvonState(jnp.zeros([], jnp.int32), average, hessian, precision, keys, jnp.zeros([], bool))

    def hessian_estimate(
        gradients: PyTree, state: IvonState, params: PyTree, grad_fn: GradientFunction | None
    ) -> PyTree:
        """f, averaged over the samples."""
        noises = _noises(state)
        if estimator == REPARAMETRISATION:
            products = jax.tree.map(jnp.multiply, noises, gradients)
            return jax.tree.map(
                lambda x, h: examples * (h + weight_decay) * _mean(x), products, state.hessian
            )
        check_gradient_function(params, grad_fn, f"ivon with estimator={HUTCHINSON!r}")

        def of_sample(words, noise, part):
            gradient = grad_fn if samples == 1 else lambda point: grad_fn(point, part)
            signs = _random(jax.random.rademacher, words, params)
            _, product = jax.jvp(gradient, (_displaced(params, noise),), (signs,))
            return jax.tree.map(lambda u, v: widened(u * v), signs, product)

        return jax.tree.map(_mean, jax.vmap(of_sample)(state.keys, noises, jnp.arange(samples)))

    def update(updates, state, params=None, *, part_gradients=None, grad_fn=None, **extra):
        _check_update(params, state, part_gradients)
        gradients = jax.tree.map(lambda g: g[None], updates) if samples == 1 else part_gradients
        gradients = jax.tree.map(widened, gradients)
        count = optax.safe_increment(state.count)
        average = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * _mean(g), state.average, gradients)
        estimate = hessian_estimate(gradients, state, params, grad_fn)
        hessian = jax.tree.map(lambda h, f: _approached(h, f, 1 - b2, weight_decay), state.hessian, estimate)
        rate = at_step(learning_rate, state.count) * (hessian_init + weight_decay)

        def step(m, average, h, g):
            direction = (average / (1 - b1**count) + weight_decay * widened(m)) / (h + weight_decay)
            direction = direction if clip is None else jnp.clip(direction, -clip, clip)
            return jnp.where(state.pending, -rate * direction, jnp.nan).astype(g.dtype)

        stepped = jax.tree.map(step, params, average, hessian, updates)
        drawn = state._replace(pending=jnp.zeros_like(state.pending))
        return stepped, drawn._replace(count=count, average=average, hessian=hessian)

    return optax.GradientTransformationExtraArgs(init, update)


def posterior(state: PyTree) -> PyTree:
    """The standard deviation of every weight, 1/√(N (h + δ)); the parameters are the means.

    Raises ValueError where `ivon` is not in the optimizer's state.
    """
    if not (gaussians := offers(state, "deviations")):
        raise ValueError("posterior: there is no ivon in this state")
    return gaussians[0].deviations()


def _noises(state: IvonState) -> PyTree:
    """w - m of each sample, stacked; the same from the same keys."""
    normal = jax.vmap(lambda words: _random(jax.random.normal, words, state.hessian))(state.keys)
    return jax.tree.map(lambda z, deviation: z * deviation[None], normal, state.deviations())


def _random(draw: Callable[..., Array], words: UInt32[Array, "words"], like: PyTree) -> PyTree:
    """A tree of random numbers of one kind, each leaf by a key of its own."""
    leaves, structure = jax.tree.flatten(like)
    key = jax.random.fold_in(jax.random.wrap_key_data(words), _STREAMS[draw])
    return structure.unflatten(
        [draw(jax.random.fold_in(key, place), leaf.shape, leaf.dtype) for place, leaf in enumerate(leaves)]
    )


def _displaced(params: PyTree, noise: PyTree) -> PyTree:
    return jax.tree.map(lambda w, z: (widened(w) + z).astype(w.dtype), params, noise)


def _mean(stack: Float[Array, "samples *shape"]) -> Float[Array, "*shape"]:
    return sum(jnp.unstack(stack)) / len(stack)


def _approached(h: Array, estimate: Array, share: ArrayLike, weight_decay: ArrayLike) -> Array:
    """h a share of the way towards its estimate, and so much more that h + δ stays above half of it."""
    way = share * (estimate - h)
    return h + way + way**2 / (2 * (h + weight_decay))


def _check_update(params: PyTree | None, state: IvonState, part_gradients: PyTree | None) -> None:
    if params is None:
        raise ValueError("ivon needs params: call update(updates, state, params)")
    samples = len(state.keys)
    lengths = {len(leaf) for leaf in jax.tree.leaves(part_gradients)}
    if samples > 1 and lengths != {samples}:
        raise ValueError(f"ivon needs part_gradients, those at its {samples} samples stacked")
    if not isinstance(state.pending, jax.core.Tracer) and not state.pending:
        raise ValueError(
            "ivon needs its gradient at a new sample: before each update draw, state = optim.sample(key,"
            " state, params)"
        )
