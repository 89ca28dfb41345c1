"""diffGrad beside Adam."""

import jax
import numpy as np
import optax
import pytest

from optim import scale_by_diffgrad


def factors(gradients):
    """Its directions over Adam's, step by step."""

    @jax.jit
    def directions(gradients):
        methods = scale_by_diffgrad(), optax.scale_by_adam()
        return [
            jax.lax.scan(lambda state, g, tx=tx: tx.update(g, state)[::-1], tx.init(gradients[0]), gradients)[
                1
            ]
            for tx in methods
        ]

    return np.divide(*directions(np.float32(gradients)))


def test_of_a_constant_gradient_it_is_half_of_adam_from_the_second_step_on():
    g = np.array([0.3, -2.0])
    expected = [1 / (1 + np.exp(-np.abs(g))), [0.5] * 2, [0.5] * 2]
    np.testing.assert_allclose(factors([g, g, g]), expected, rtol=1e-6)


def test_the_factor_depends_on_the_loss_s_scale():
    """|Δg| = 1e-3: .50025; times 1000, .7311; times 10⁶, 1."""
    for scale, expected in ((1, 0.50025), (1e3, 0.731059), (1e6, 1.0)):
        change = np.array([1.0, 1.001]) * scale
        found = factors([change[:1], change[1:]])[1]
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"b1": 1.0}, r"b1 must be in \[0, 1\), got 1.0"),
        ({"b2": -0.1}, r"b2 must be in \[0, 1\), got -0.1"),
        ({"eps": -1e-8}, r"eps must be in \[0, inf\), got -1e-08"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        scale_by_diffgrad(**options)
