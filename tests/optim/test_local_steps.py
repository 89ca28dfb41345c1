"""Local steps on quadratics whose rounds have closed forms, and against the methods that they become."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
from geometry import EUCLIDEAN
from optim import diloco, evaluation_params, local_sgd, local_steps, on_workers, palsgd, post_local_sgd, snoo

WORKERS, RATE = 4, 0.1
RNG = np.random.default_rng(0)
CURVATURES, OPTIMA = RNG.uniform(0.5, 2, (2, WORKERS, 3))
SHARED = {"axis_name": "workers", "workers": WORKERS}
CLOSE = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def trained(tx, steps, curvatures=CURVATURES, optima=OPTIMA, start=1.0):
    """The workers' parameters and the state after each step on ½h(x - x*)², a row for each worker."""
    tx = on_workers(tx, len(curvatures))

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(curvatures * (params - optima), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    @jax.jit
    def run():
        params = jnp.full_like(curvatures, start)
        return jax.lax.scan(step, (params, tx.init(params)), length=steps)[1]

    return run()


def anchors(tx, rounds, every, **problem):
    """The anchor after each round."""
    _, state = trained(tx, rounds * every, **problem)
    return np.asarray(state.each.anchor)[every - 1 :: every]


def test_local_sgd_averages_the_workers_every_few_steps():
    every, params = 3, np.ones((WORKERS, 3))
    found, _ = trained(local_sgd(optax.sgd(RATE), every=every, **SHARED), 9)
    for step in range(9):
        params = params - RATE * CURVATURES * (params - OPTIMA)
        if (step + 1) % every == 0:
            params = np.broadcast_to(params.mean(0), params.shape)
        np.testing.assert_allclose(found[step], params, **CLOSE)


INNER = {
    "sgd": lambda rate: optax.sgd(rate),
    "heavy ball": lambda rate: optax.sgd(rate, momentum=0.9),
    "adam": lambda rate: optax.adam(rate),
}


@functools.cache
def averaged(name):
    """Twenty steps with the gradients of the workers averaged, as data-parallel training does."""
    tx = INNER[name](RATE)

    def step(carry, _):
        params, state = carry
        gradient = jnp.mean(CURVATURES * (params[None] - OPTIMA), axis=0)
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    run = jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), length=20)[1])
    return np.asarray(run(np.ones(3)))


@pytest.mark.parametrize("name", INNER)
def test_with_a_boundary_each_step_it_averages_gradients_unless_adam_is_inside(name):
    found, _ = trained(local_sgd(INNER[name](RATE), every=1, **SHARED), 20)
    difference = np.abs(np.asarray(found) - averaged(name)[:, None]).max()
    assert (difference > 1e-3) if name == "adam" else (difference < 1e-14)


@pytest.mark.parametrize("name", INNER)
def test_before_its_start_it_averages_gradients_whatever_is_inside(name):
    tx = post_local_sgd(INNER[name](RATE), every=3, start=20, **SHARED)
    found, state = trained(tx, 20)
    found, state = jax.tree.map(np.asarray, (found, state))
    expected = averaged(name)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], found.shape), **CLOSE)
    for step in (5, 19):  # the anchor comes to the workers at the last of these steps
        evaluated = evaluation_params(jax.tree.map(lambda leaf: leaf[step], state), found[step])  # noqa: B023
        np.testing.assert_allclose(evaluated, expected[step], **CLOSE)
    np.testing.assert_allclose(state.each.anchor[-1], expected[-1], **CLOSE)


def test_post_local_sgd_is_local_sgd_from_where_averaging_ends():
    start, every = 5, 3
    found, _ = trained(post_local_sgd(optax.sgd(RATE), every=every, start=start, **SHARED), start + 2 * every)
    params = np.broadcast_to(averaged("sgd")[start - 1], (WORKERS, 3))
    for step in range(2 * every):
        params = params - RATE * CURVATURES * (params - OPTIMA)
        if (step + 1) % every == 0:
            params = np.broadcast_to(params.mean(0), params.shape)
        np.testing.assert_allclose(found[start + step], params, **CLOSE)


# of the curvature h and s = 1 - (1 - αh)^H, q = 1 - γs, a round has the eigenvalues λ² - (1 + μ)qλ + μq = 0
ONE = {"curvatures": np.full((1, 1), 2.0), "optima": np.zeros((1, 1))}


def test_a_round_of_diloco_has_the_eigenvalues_of_its_companion_matrix():
    tx = diloco(optax.sgd(0.05), every=10, outer_learning_rate=0.7, outer_momentum=0.9, axis_name="workers")
    found = anchors(tx, 61, 10, **ONE).squeeze()
    np.testing.assert_allclose(found[:3], [0.133742, -0.351412, -0.428759], atol=5e-7)
    # a recursion with complex eigenvalues: the determinant of two neighbouring steps shrinks by |λ|² a round
    determinants = found[2:] * found[:-2] - found[1:-1] ** 2
    radius = np.sqrt(determinants[1:20] / determinants[:19])
    np.testing.assert_allclose(radius, 0.699762, atol=1e-6)


@pytest.mark.parametrize(("bound", "converges"), [(1.35, True), (1.36, False)])
def test_diloco_is_stable_up_to_1357(bound, converges):
    tx = diloco(optax.sgd(0.5), every=1, outer_learning_rate=bound, axis_name="workers")  # s = αh = 1
    found = np.abs(anchors(tx, 2000, 1, **ONE)).squeeze()
    assert (found[-1] < 1e-6) == converges
    assert (found[-1] > 1e3) != converges


def test_the_first_outer_step_is_a_look_ahead_and_the_long_run_seven_times_it(run):
    found = run(snoo(optax.sgd(1.0), every=1), np.zeros(()), np.ones(200))
    assert found[0] == pytest.approx(-1.33)
    assert found[-1] - found[-2] == pytest.approx(-7)


# two workers of the curvatures 1 and 3 around 0 and 1, α = .1: local steps end where each pulls by what it
# moves in a round, 1 - (1 - αh)^H, and with mixing by (1 - (1 - α(h + η))^H) h/(h + η)
TWO = {"curvatures": np.array([[1.0], [3.0]]), "optima": np.array([[0.0], [1.0]])}


@pytest.mark.parametrize(("every", "end"), [(1, 0.75), (10, 0.598711), (1000, 0.5)])
def test_clients_drift_towards_the_mean_of_their_optima(every, end):
    tx = local_sgd(optax.sgd(0.1), every=every, axis_name="workers")
    assert anchors(tx, 200 if every < 1000 else 5, every, **TWO)[-1] == pytest.approx(end, abs=5e-7)


def test_mixing_buys_back_drift():
    """On average over the coins; within four standard errors, which a fixed point without mixing is not."""
    alpha, every, rounds, runs = 0.1, 10, 4, 4_000

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def anchor(key, eta, start):
        options = {"mix_probability": 0.6, "mix": alpha * eta, "axis_name": "workers", "key": key}
        tx = local_steps(optax.sgd(alpha), optax.sgd(1.0), every=every, **options)
        return trained(tx, rounds * every, start=start, **TWO)[1].each.anchor[-1, 0]

    keys = jax.random.split(jax.random.key(1), runs)
    for eta, end in ((0.5, 0.612303), (5.0, 0.692330)):
        found = np.asarray(anchor(keys, eta, end))
        error = np.std(found) / runs**0.5
        assert error < (end - 0.598711) / 8
        assert abs(np.mean(found) - end) < 4 * error


COIN = {"mix_probability": 0.2, "mix": 0.05}


def one_step(key, params=0.3, anchor=0.5, gradient=2.0, alpha=0.1):
    """What a worker moves that is away from its anchor."""
    tx = local_steps(optax.sgd(alpha), optax.sgd(1.0), every=100, key=key, **COIN)
    updates, _ = tx.update(jnp.asarray(gradient), tx.init(jnp.asarray(anchor)), jnp.asarray(params))
    return updates


def test_a_step_is_on_average_a_gradient_step_and_a_pull_to_the_anchor():
    """x - α(g + η(x - a)), of the two outcomes by what their coin weighs; the coin keeps to it."""
    found = np.asarray(jax.jit(jax.vmap(one_step))(jax.random.split(jax.random.key(0), 10_000)))
    mixed, stepped = -0.05 / 0.2 * (0.3 - 0.5), -0.1 * 2.0 / 0.8
    mixes = found == found.max()
    np.testing.assert_allclose(found, np.where(mixes, mixed, stepped), **CLOSE)
    assert 0.2 * mixed + 0.8 * stepped == pytest.approx(-0.1 * (2.0 + 0.5 * (0.3 - 0.5)), abs=1e-16)
    assert abs(mixes.mean() - 0.2) < 4 * (0.2 * 0.8 / 10_000) ** 0.5


def test_mixes_shrink_the_way_to_the_anchor_in_every_tensor_and_leave_the_inner_state_alone():
    tx = local_steps(optax.adam(0.1), optax.sgd(1.0), every=100, mix_probability=0.999, mix=0.333)
    params = {"a": np.array([1.0, -2.0]), "b": np.array(3.0)}

    def step(carry, _):
        moved, state = carry
        updates, state = tx.update(params, state, moved)
        return (optax.apply_updates(moved, updates), state), None

    @jax.jit
    def end(params):  # this key's coin falls on a mix each time
        return jax.lax.scan(step, (params, tx.init(jax.tree.map(jnp.zeros_like, params))), length=5)[0]

    moved, state = end(params)
    shrunk = (1 - 0.333 / 0.999) ** 5
    jax.tree.map(lambda m, x: np.testing.assert_allclose(m, shrunk * x, **CLOSE), moved, params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.inner))


@jax.jit
def mixes_of(key):
    """Whether each of eight workers mixes at each of 3200 steps: without a gradient, what moves is a mix."""
    tx = palsgd(optax.sgd(1.0), every=10**6, mix_probability=0.2, mix=0.1, axis_name="workers", key=key)
    tx = on_workers(tx, 8)
    params = jnp.ones((8, 1))

    def step(state, _):
        updates, state = tx.update(jnp.zeros_like(params), state, params)
        return state, updates[:, 0] != 0

    return jax.lax.scan(step, tx.init(0 * params), length=3200)[1]


def test_coins_are_the_steps_and_the_workers_own():
    """(1 - p)H gradients a round of H = 32 at p = .2, which is 25.6; no two workers or steps share a coin."""
    rounds, workers = 100, 8
    mixes = np.asarray(mixes_of(jax.random.key(0)))
    count = rounds * workers * 32
    evaluations = (~mixes).sum() / (rounds * workers)
    assert abs(evaluations - 25.6) < 4 * 32 * (0.2 * 0.8 / count) ** 0.5
    correlations = np.corrcoef(mixes.T)[~np.eye(workers, dtype=bool)]
    assert np.abs(correlations).max() < 5 / len(mixes) ** 0.5
    later = np.corrcoef(mixes[1:, 0], mixes[:-1, 0])[0, 1]
    assert abs(later) < 4 / len(mixes) ** 0.5
    np.testing.assert_array_equal(mixes, mixes_of(jax.random.key(0)))
    assert np.any(mixes != mixes_of(jax.random.key(1)))
    assert mixes[0].any()  # the first step may mix as any other


def test_rates_are_indexed_by_steps_those_that_mix_included(run):
    rate, p, steps = optax.linear_schedule(1.0, 0.0, 100), 0.4, 60
    options = {"every": 10**6, "mix_probability": p, "mix": 0.0, "start": 5}
    tx = local_steps(optax.sgd, optax.sgd(1.0), learning_rate=rate, **options)
    moved = np.diff(run(tx, np.zeros(()), np.ones(steps)), prepend=0)
    rates = np.asarray(jax.jit(rate)(np.arange(steps))) / np.where(np.arange(steps) < 5, 1, 1 - p)
    mixes = moved == 0
    np.testing.assert_allclose(moved, np.where(mixes, 0, -rates), atol=1e-6)  # a schedule is in float32
    assert 0.2 < mixes.mean() < 0.6


def test_the_schedules_of_the_outer_optimizer_count_boundaries(run):
    outer = optax.sgd(lambda count: 1.0 / (count + 1))
    tx = local_steps(optax.sgd(1.0), outer, every=2)
    found = run(tx, np.zeros(()), np.ones(6))
    np.testing.assert_allclose(found, [-1, -2, -3, -3, -4, -3 - 2 / 3], atol=1e-6)


@pytest.mark.parametrize("inner", [*INNER.values(), optax.adamw], ids=[*INNER, "adamw"])
def test_one_worker_is_optaxs_lookahead(inner):
    mine, theirs = local_steps(inner(RATE), optax.sgd(0.5), every=5), optax.lookahead(inner(RATE), 5, 0.5)
    curvature = CURVATURES[0]

    def step(carry, _):
        params, state, pair, other = carry
        updates, state = mine.update(curvature * params, state, params)
        params = optax.apply_updates(params, updates)
        updates, other = theirs.update(curvature * pair.fast, other, pair)
        pair = optax.apply_updates(pair, updates)
        return (params, state, pair, other), ((params, evaluation_params(state, params)), tuple(pair))

    @jax.jit
    def run(params):
        pair = optax.LookaheadParams.init_synced(params)
        return jax.lax.scan(step, (params, mine.init(params), pair, theirs.init(pair)), length=23)[1]

    found, expected = run(np.ones(3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), found, expected)


def test_an_adaptive_batch_works_inside():
    """Batches of two micro-batches, of each worker's own gradients: rounds of two steps on their means."""
    controller = optim.BatchController(EUCLIDEAN, 2, 2, every=10**6)
    inner = optim.adaptive_batch(optax.sgd, lambda _: RATE, controller, microbatch_size=1)
    tx = local_sgd(inner, every=4, **SHARED)
    found, _ = trained(tx, 8)
    params = np.ones((WORKERS, 3))
    for step in range(8):
        if step % 2:  # both gradients are at the same point
            params = params - RATE * CURVATURES * (params - OPTIMA)
        if step % 4 == 3:
            params = np.broadcast_to(params.mean(0), params.shape)
        np.testing.assert_allclose(found[step], params, **CLOSE)


@pytest.mark.parametrize("options", [{}, {"key": 3}], ids=["default key", "another key"])
def test_interrupted_is_uninterrupted(options):
    """The state is all there is: what it was made with, but for the options, is forgotten."""
    make = lambda: on_workers(  # noqa: E731
        palsgd(optax.adam(RATE), every=4, start=3, mix_probability=0.3, mix=0.1, **SHARED, **options), WORKERS
    )

    @jax.jit
    def step(gradient, state, params):
        updates, state = make().update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    gradients = RNG.normal(size=(12, WORKERS, 3))
    ends = []
    for stop in (None, 6):
        params = np.ones((WORKERS, 3))
        state = jax.jit(make().init)(params)
        for t, gradient in enumerate(gradients):
            if t == stop:
                params, state = jax.device_put(jax.tree.map(np.array, (params, state)))
            params, state = step(gradient, state, params)
        ends.append((params, state))
    jax.tree.map(np.testing.assert_array_equal, *ends)


SGD = optax.sgd(0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: local_sgd(SGD, every=0), r"^every must be in \[1, inf\), got 0"),
        (lambda: post_local_sgd(SGD, every=1, start=-1), r"^start must be in \[0, inf\), got -1"),
        (lambda: palsgd(SGD, every=1, mix_probability=1.0, mix=0.1), r"^mix_probability must be in \[0, 1\)"),
        (
            lambda: palsgd(SGD, every=1, mix_probability=-0.1, mix=0.0),
            r"^mix_probability must be in \[0, 1\)",
        ),
        (
            lambda: palsgd(SGD, every=1, mix=0.3),
            r"^mix must be in \[0, 0.2\], up to mix_probability, got 0.3",
        ),
        (
            lambda: palsgd(SGD, every=1, mix=-0.1),
            r"^mix must be in \[0, 0.2\], up to mix_probability, got -0.1",
        ),
        (lambda: local_sgd(SGD, every=1, mix=0.1), r"^mix must be in \[0, 0.0\]"),
        (lambda: local_sgd(SGD, every=1, mix=lambda _: 0.1), r"^mix must be in \[0, 0.0\]"),
        (lambda: local_sgd(optax.sgd, every=1), "^inner must be a transformation, or with learning_rate"),
        (lambda: local_sgd(SGD, every=1, learning_rate=0.1), "^inner must be a transformation, or with"),
    ],
)
def test_meaningless_options_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_workers_that_are_not_there_are_missed():
    params = jnp.ones((3, 2))
    tx = on_workers(local_sgd(SGD, every=1, axis_name="workers", workers=4), 3)
    with pytest.raises(ValueError, match="workers must be 3, as many as there are along the axis 'workers'"):
        tx.update(params, tx.init(params), params)
    lonely = local_sgd(SGD, every=1, workers=2)
    with pytest.raises(ValueError, match="workers must be 1, as many as there are without axis_name, got 2"):
        lonely.update(params, lonely.init(params), params)


def test_params_are_needed():
    tx = local_sgd(SGD, every=1)
    with pytest.raises(ValueError, match="params are needed for local steps"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
