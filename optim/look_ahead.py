"""Steps by the gradient where the step before would lead: for games, whose gradients go around."""

import optax

from optim.ascent import check_gradient_function, check_whole


def extragradient(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The step of `inner` from w on the gradient at w', where w' is where its step on that at w leads.

    The state after it is that of the second step alone. In a game the parameters are those of all players,
    and `grad_fn` gives each its own gradient, that of what it minimises. On x·y, which gradient descent
    spirals out of by √(1 + η²) a step, `extragradient(optax.sgd(η))` spirals in by √(1 - η² + η⁴). With the
    gradient of the last step in place of a second one it is `optax.optimistic_gradient_descent`.
    Source: Korpelevich, 1976.

    Raises ValueError at init where `params` are a masked part, and in an update where `params` or `grad_fn`,
    params → the gradient of the same batch, are missing.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params):
        check_whole(params, "extragradient")
        return inner.init(params)

    def update(updates, state, params=None, *, grad_fn=None, **extra):
        check_gradient_function(params, grad_fn, "extragradient")
        first, _ = inner.update(updates, state, params, **extra)
        gradient = grad_fn(optax.apply_updates(params, first))
        return inner.update(gradient, state, params, **extra)

    return optax.GradientTransformationExtraArgs(init, update)
