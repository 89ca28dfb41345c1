"""The games: distances of samples, what selection is worth, and a run against a plain loop."""

import itertools
import zlib

import jax
import numpy as np
import pytest
from scipy import stats

from experiments.games.config import Config
from experiments.games.games import GAMES
from experiments.games.samples import centres, covered_modes, mixture, sliced_wasserstein
from experiments.games.selection import best_mean, selection_gain
from tests.experiments.journals import runs_of


def test_samples_that_are_moved_are_as_far_as_their_projections():
    """E|⟨v, θ⟩| = 2‖v‖/π over all directions; the order of samples does not matter."""
    samples = np.asarray(jax.jit(mixture, static_argnums=1)(jax.random.key(0), 256))
    distance = jax.jit(sliced_wasserstein)
    moved = samples[::-1] + np.array([[0.3, -0.4]], np.float32)
    assert float(distance(samples, moved)) == pytest.approx(2 * 0.5 / np.pi, rel=2e-3)
    assert float(distance(samples, samples[::-1])) == 0


def test_modes_are_covered_by_a_quarter_of_their_share():
    """8 of 256 samples, within 0.3 of the centre."""
    points = np.asarray(jax.jit(centres)())
    spread = [points[0] + [0.29, 0]] * 8 + [points[1] + [0.31, 0]] * 100 + [points[2]] * 7 + [points[3]] * 141
    assert float(jax.jit(covered_modes)(np.float32(spread))) == 2
    assert float(jax.jit(lambda key: covered_modes(mixture(key, 2048)))(jax.random.key(1))) == 8


def test_the_best_of_more_settings_are_those_of_the_published_comparison():
    """Of settings spread normally by 12 around 50: the ten best of 25 at 38.8, of 75 at 30.9."""
    levels = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000, 50, 12)
    scores = np.stack([levels, levels], axis=1)
    found = [best_mean(scores, count, 10) for count in (25, 75)]
    np.testing.assert_allclose([mean.told for mean in found], [38.8, 30.9], atol=0.06)
    np.testing.assert_allclose([mean.kept for mean in found], [mean.told for mean in found])


def test_the_best_of_some_draws_are_what_all_draws_say():
    scores = np.array([[3.0, 1.0], [2.0, 5.0], [np.inf, 0.0]])
    runs = [(3.0, 1.0), (1.0, 3.0), (2.0, 5.0), (5.0, 2.0)]
    best = [np.mean(sorted(draw)[:2], axis=0) for draw in itertools.product(runs, repeat=3)]
    np.testing.assert_allclose(best_mean(scores, 3, 2), np.mean(best, axis=0))


def test_luck_is_told_and_not_kept():
    """Settings that differ by their seeds alone gain as often as not, whatever was told."""
    levels = np.exp(np.random.default_rng(0).normal(size=(12, 9, 2)))
    gain = selection_gain(list(levels), Config(), 0.95)
    assert gain.told.low > 0.2
    assert gain.kept.low < 0.05 < 0.2 < gain.told.value
    assert np.isnan(selection_gain([np.full((3, 2), np.inf)], Config(), 0.95).told.value)


def test_a_network_s_losses_are_those_of_its_logits():
    game = GAMES["gan"](Config(width=4))

    @jax.jit
    def played():
        players, batch = game.init(jax.random.key(0)), game.batch(jax.random.key(1))
        return players, batch, game.losses(players, batch)

    players, (real, latent), found = played()

    def network(params, x):
        layers = [params["params"][name] for name in ("Dense_0", "Dense_1", "head")]
        for place, layer in enumerate(layers):
            x = x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
            x = np.maximum(x, 0) if place < 2 else x
        return x

    fake = network(players[0], network(players[1], np.asarray(latent)))
    told = np.mean(np.log1p(np.exp(-network(players[0], np.asarray(real)))) + np.log1p(np.exp(fake)))
    expected = told, np.mean(np.log1p(np.exp(-fake)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.xdist_group("games")
def test_a_run_is_a_plain_loop_over_its_noise(finished_studies):
    """Of sgd in the bilinear game, whose players move in turn."""
    config = Config(num_steps=40)
    game = GAMES["bilinear"](config)
    runs = [run for run in runs_of(finished_studies("games").folder) if run["group"] == "bilinear sgd"]
    assert len(runs) == 14

    @jax.jit
    def drawn(stage, replicate):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), stage), replicate)
        start, batches, _ = jax.random.split(key, 3)
        return game.init(start), jax.vmap(game.batch)(jax.random.split(batches, 40))

    hessian = jax.hessian(lambda w: game.losses((w[:8], w[8:]), np.zeros((2, 8), np.float32))[0])
    matrix = np.asarray(jax.jit(hessian)(np.zeros(16, np.float32)))[:8, 8:]
    np.testing.assert_allclose(np.linalg.svd(matrix)[1], np.linspace(1, 0.3, 8), rtol=1e-5)
    for run in runs[::5]:
        start, noises = drawn(np.uint32(zlib.crc32(run["stage"].encode())), run["replicate"])
        x, y = map(np.asarray, start)
        for noise in np.asarray(noises):
            x = x - run["base_lr"] * (matrix @ y + noise[0])
            y = y - run["base_lr"] * (noise[1] - x @ matrix)
        assert run["score"] == pytest.approx(np.sqrt(x @ x + y @ y), rel=1e-4)
