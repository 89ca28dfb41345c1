"""Signs by agreement: the numbers that are sent, how often their sum has the wrong sign, and one worker."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import distributed_signum, lion_cub, on_workers, signum
from optim.lion_cub import whole_numbers

RNG = np.random.default_rng(0)
QUANTISED = ("l1", "l0", "linf")


def directions(gradients, tx_of=lion_cub, **options):
    """The first step's, of gradients with an axis of workers."""
    workers = len(gradients)
    tx = on_workers(tx_of(1.0, axis_name="workers", workers=workers, weight_decay=0.0, **options), workers)
    params = np.zeros_like(gradients)
    updates = -np.asarray(jax.jit(lambda g, p: tx.update(g, tx.init(p), p)[0])(gradients, params))
    assert np.all(updates == updates[0])
    return updates[0]


@pytest.mark.parametrize("scale", [*QUANTISED, "vote"])
@pytest.mark.parametrize("workers", [2, 3, 8, 31, 32, 64, 127])
def test_no_sum_leaves_an_int8(workers, scale):
    """Of large numbers, where the scale is that of many small ones, all q are at their bound."""
    blend = np.float32([1e-3] * 1000 + [50.0, -50.0])
    sent = np.asarray(whole_numbers(jnp.asarray(blend), 127 // workers, scale), int)
    assert workers * np.abs(sent).max() <= workers * (127 // workers) <= 127
    assert sent[-2] == -sent[-1] == (1 if scale == "vote" else 127 // workers)


@pytest.mark.parametrize("scale", [*QUANTISED, "vote"])
def test_what_is_sent_is_odd_and_knows_no_unit(scale):
    blend = RNG.normal(size=1000).astype(np.float32)
    sent, opposite, scaled = (
        np.asarray(whole_numbers(jnp.asarray(numbers), 15, scale))
        for numbers in (blend, -blend, 1024 * blend)
    )
    assert sent.dtype == np.int8
    np.testing.assert_array_equal(opposite, -sent)
    np.testing.assert_array_equal(scaled, sent)


def test_a_gaussian_is_clipped_and_rounded_to_zero_as_its_scale_says():
    """|c|/s < 1/127 for 2Φ(√(2/π)/127) - 1 = .5012 % of it, and |c|/s > 2 for 2Φ(-2√(2/π)) = 11.06 %."""
    blend = np.random.default_rng(1).standard_normal(1_000_000, np.float32)
    sent = np.abs(np.asarray(whole_numbers(jnp.asarray(blend), 127, "l1"), int))
    share_of_zeros, tolerance = (sent == 0).mean(), 4 * (0.005 / 1e6) ** 0.5
    assert abs(share_of_zeros - 0.005012) < tolerance
    clipped = np.abs(blend) > 2 * np.abs(blend).mean()
    assert abs(clipped.mean() - 0.1106) < 0.0015
    assert np.all(sent[clipped] == 127)


# of a signal of deviation .5 and each worker's noise of 1: per cent of signs other than the exact mean's
SHARES = {
    ("l1", 2): 0.89, ("l1", 8): 2.26, ("l1", 32): 3.13,
    ("l0", 2): 2.81, ("l0", 8): 4.48, ("l0", 32): 3.77,
    ("vote", 2): 43.6, ("vote", 8): 23.2, ("vote", 32): 10.8,
}  # fmt: skip
ENTRIES = 125_000  # by which other scales and numbers of workers are 12 deviations apart


@pytest.fixture(scope="module")
def noisy():
    """Entries as each of 32 workers sees them."""
    rng = np.random.default_rng(2)
    return 0.5 * rng.standard_normal(ENTRIES, np.float32) + rng.standard_normal((32, ENTRIES), np.float32)


@pytest.mark.parametrize(("scale", "workers"), SHARES)
def test_signs_are_wrong_as_often_as_was_found_of_a_million(scale, workers, noisy):
    gradients = noisy[:workers]
    wrong = 100 * (directions(gradients, scale=scale, b1=0.0) != np.sign(gradients.mean(0))).mean()
    share = SHARES[scale, workers]
    deviation = (share * (100 - share) * (1 / 1e6 + 1 / ENTRIES)) ** 0.5  # of the difference of the counts
    assert abs(wrong - share) < 4 * deviation + (0.05 if share > 10 else 0.005)


def test_the_larger_unit_of_one_worker_changes_nothing():
    gradients = RNG.normal(size=(8, 100)).astype(np.float32)
    louder = gradients * np.where(np.arange(8) == 3, 1024, 1)[:, None].astype(np.float32)
    np.testing.assert_array_equal(directions(gradients), directions(louder))
    assert np.any(np.sign(gradients.mean(0)) != np.sign(louder.mean(0)))


def loop(tx, gradients):
    """The parameters and the state after all gradients, from parameters of ones."""

    def step(carry, gradient):
        params, state = carry
        updates, state = tx.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    params = np.ones_like(gradients[0])
    run = jax.jit(lambda params, gradients: jax.lax.scan(step, (params, tx.init(params)), gradients)[0])
    return run(params, gradients)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_one_worker_is_optaxs_lion(weight_decay):
    with jax.enable_x64(True):
        gradients = RNG.normal(size=(50, 20))
        mine = lion_cub(0.1, axis_name=None, workers=1, weight_decay=weight_decay)
        theirs = optax.lion(0.1, weight_decay=weight_decay)
        found, expected = (loop(tx, gradients)[0] for tx in (mine, theirs))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_one_worker_is_signum():
    with jax.enable_x64(True):
        gradients = RNG.normal(size=(50, 20))
        mine = distributed_signum(0.1, 0.8, axis_name=None, workers=1, weight_decay=0.1)
        np.testing.assert_allclose(
            *(loop(tx, gradients)[0] for tx in (mine, signum(0.1, 0.8, weight_decay=0.1))), rtol=0, atol=1e-14
        )


@pytest.mark.parametrize("sync_every", [None, 1, 7])
def test_the_mean_of_the_momenta_is_that_of_the_mean_gradient_averaged_or_not(sync_every):
    """And where they are averaged they are equal."""
    with jax.enable_x64(True):
        workers, gradients = 4, RNG.normal(size=(21, 4, 20))
        tx = lion_cub(0.1, axis_name="workers", workers=workers, sync_every=sync_every)
        _, state = loop(on_workers(tx, workers), gradients)
        momenta = np.asarray(state.each[0].momentum)
        expected = loop(optax.lion(0.1), gradients.mean(1))[1][0].mu
        np.testing.assert_allclose(momenta.mean(0), expected, rtol=0, atol=1e-15)
        assert (np.ptp(momenta, axis=0).max() < 1e-15) == (sync_every is not None)


def test_many_workers_step_by_their_sum_and_decay():
    """A loop in NumPy: K = 3, whose numbers go to 42."""
    with jax.enable_x64(True):
        gradients, rate, decay = RNG.normal(size=(20, 3, 50)), 0.1, 0.2
        tx = lion_cub(rate, axis_name="workers", workers=3, b1=0.8, b2=0.95, weight_decay=decay)
        found, _ = loop(on_workers(tx, 3), gradients)
        params, momenta = np.ones(50), np.zeros((3, 50))
        for gradient in gradients:
            blends = 0.8 * momenta + 0.2 * gradient
            sent = np.clip(np.round(blends / np.abs(blends).mean(1, keepdims=True) * 21), -42, 42)
            params = params - rate * np.sign(sent.sum(0)) - rate * decay * params
            momenta = 0.95 * momenta + 0.05 * gradient
        np.testing.assert_allclose(found, np.broadcast_to(params, found.shape), rtol=0, atol=1e-12)


def test_votes_are_counted():
    """Three workers: two against one, one against none, a tie and nothing at all."""
    votes = np.float32([[2, 0.1, 1, 0], [-1, 0, -9, 0], [-3, 0, 0, 0]])
    for tx_of, options in ((lion_cub, {"scale": "vote", "b1": 0.0}), (distributed_signum, {"momentum": 0.0})):
        np.testing.assert_array_equal(directions(votes, tx_of, **options), [-1, 1, 0, 0])


@pytest.mark.parametrize("scale", [*QUANTISED, "vote"])
def test_what_is_zero_or_no_number_is_sent_as_zero(scale):
    assert not np.any(directions(np.zeros((4, 5), np.float32), scale=scale))
    bad = np.float32([[np.nan, np.inf, 3.0], [1.0, 1.0, 1.0]])
    assert np.all(directions(bad, scale=scale, b1=0.0) >= 0)
    unreached = directions(np.float32([[0, 1, -1], [0, 0.5, -2]]), scale=scale, b1=0.0)
    np.testing.assert_array_equal(unreached, [0, 1, -1])  # an entry that no gradient reaches does not drift


AXIS = {"axis_name": "workers", "workers": 2}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lion_cub(0.1, axis_name="workers", workers=0), r"^workers must be in \[1, 128\), got 0"),
        (lambda: lion_cub(0.1, axis_name="workers", workers=128), r"^workers must be in \[1, 128\), got 128"),
        (lambda: lion_cub(0.1, axis_name=None, workers=2), "^axis_name must be given for 2 workers"),
        (lambda: lion_cub(0.1, **AXIS, scale="l2"), "^scale must be one of .*'l1', 'l0', 'linf', 'vote'"),
        (lambda: lion_cub(0.1, **AXIS, sync_every=0), r"^sync_every must be in \[1, inf\), got 0"),
        (lambda: lion_cub(0.1, **AXIS, b1=1.0), r"^b1 must be in \[0, 1\), got 1"),
        (lambda: lion_cub(0.1, **AXIS, b2=-0.1), r"^b2 must be in \[0, 1\), got -0.1"),
        (lambda: lion_cub(-0.1, **AXIS), "^learning_rate must be in"),
        (lambda: lion_cub(0.1, **AXIS, weight_decay=-1.0), "^weight_decay must be in"),
        (lambda: distributed_signum(0.1, 1.0, **AXIS), "^momentum must be in"),
        (lambda: distributed_signum(0.1, axis_name="workers", workers=128), "^workers must be in"),
        (
            lambda: lion_cub(0.1, **AXIS).init({"ids": jnp.arange(3)}),
            r"^params must be of real numbers, got \['int32'",
        ),
        (lambda: distributed_signum(0.1, **AXIS).init(jnp.arange(3)), "^params must be of real numbers"),
    ],
)
def test_meaningless_options_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("tx_of", [lion_cub, distributed_signum])
def test_workers_that_are_not_there_are_missed(tx_of):
    params = jnp.ones((3, 2))
    tx = on_workers(tx_of(0.1, axis_name="workers", workers=4), 3)
    with pytest.raises(ValueError, match="workers must be 3, as many as there are along the axis 'workers'"):
        tx.update(params, tx.init(params), params)
