"""Language modelling: a decoder-only transformer, and the workload that trains one on blocks of tokens."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from workloads.datasets.shakespeare import NUM_CHARACTERS, load_shakespeare
from workloads.workload import Workload, subset_indices

EVALUATED_BLOCKS = 256  # of each split, evenly spread
EVALUATED_TOGETHER = 32  # bounds the memory of an evaluation


class TextData(NamedTuple):
    """Blocks of ids; the inputs of a block are all but its last id, the targets all but its first."""

    train: UInt8[Array, "train length"]
    test: UInt8[Array, "test length"]


class Block(nn.Module):
    """x ← x + attention(norm(x)), then x ← x + MLP(norm(x)), the MLP of 4·width GELU units."""

    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch time width"]) -> Float[Array, "batch time width"]:
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, use_bias=False, name="qkv")(nn.LayerNorm(name="attention_norm")(x))
        x += nn.Dense(width, use_bias=False, name="out")(causal_attention(qkv, self.heads))
        hidden = nn.gelu(nn.Dense(4 * width, name="up")(nn.LayerNorm(name="mlp_norm")(x)))
        return x + nn.Dense(width, name="down")(hidden)


class Transformer(nn.Module):
    """Token plus position embeddings, `layers` pre-LayerNorm blocks, a last LayerNorm and the `head`.

    The logits at a position are those of the next token. Positions start as `sinusoids` and are trained.
    """

    num_tokens: int
    context: int
    width: int = 64
    layers: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, ids: UInt8[Array, "batch time"]) -> Float[Array, "batch time tokens"]:
        unit = nn.initializers.normal(1.0)  # the sinusoids' scale: Flax's own, 1/√width, learns more slowly
        table = nn.Embed(self.num_tokens, self.width, embedding_init=unit, name="embed").embedding
        positions = self.param("position_embed", lambda key: sinusoids(self.context, self.width))
        # a product, as fast as a look-up, whose gradient is a scatter: on a GPU that adds in no fixed order
        x = jax.nn.one_hot(ids, self.num_tokens, dtype=table.dtype) @ table
        x += positions[None, : ids.shape[1]]
        for layer in range(self.layers):
            x = Block(self.heads, name=f"block_{layer}")(x)
        return nn.Dense(self.num_tokens, name="head")(nn.LayerNorm(name="head_norm")(x))


def causal_attention(
    qkv: Float[Array, "batch time three_widths"], heads: int
) -> Float[Array, "batch time width"]:
    """softmax(q kᵀ / √d) v over the positions up to each one, per head of d channels; heads side by side.

    The channels of `qkv` are all queries, then all keys, then all values, each grouped by head.
    """
    batch, time, channels = qkv.shape
    split = qkv.reshape(batch, time, 3, heads, channels // (3 * heads))
    q, k, v = split[:, :, 0], split[:, :, 1], split[:, :, 2]
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    past = np.tril(np.ones((1, 1, time, time), bool))
    weights = jax.nn.softmax(jnp.where(past, scores, -jnp.inf), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(batch, time, channels // 3)


def sinusoids(length: int, width: int) -> Float[Array, "length width"]:
    """sin(t f_i) and cos(t f_i) in turn, with f_i = 10000^(-2i/width), at the positions t = 0 … length - 1.

    Source: Vaswani et al. (2017), arXiv:1706.03762, section 3.5.
    """
    channel = np.arange(width)
    angles = np.arange(length)[:, None] * 1e4 ** -(channel // 2 * 2 / width)
    return jnp.asarray(np.where(channel % 2, np.cos(angles), np.sin(angles)), jnp.float32)


def language_model(data: TextData, model: nn.Module) -> Workload:
    """Train `model`, ids → logits of the next ids, on the mean cross-entropy per token, in nats.

    Metrics: the mean cross-entropy "train_loss" and "test_loss", and the fraction of next tokens
    mispredicted "train_error" and "test_error", over EVALUATED_BLOCKS fixed blocks spread evenly over each
    split (all of them where there are fewer).
    """
    num_train, length = data.train.shape

    def losses_and_errors(params, blocks):
        logits, targets = model.apply(params, blocks[:, :-1]), blocks[:, 1:]
        losses = optax.softmax_cross_entropy(logits, jax.nn.one_hot(targets, logits.shape[-1]))
        return losses, jnp.argmax(logits, axis=-1) != targets

    def loss(params, blocks, key):
        return jnp.mean(losses_and_errors(params, blocks)[0])

    def evaluate(params, data):
        def evaluate_block(block):
            losses, errors = losses_and_errors(params, block[None])
            return jnp.mean(losses), jnp.mean(errors)

        metrics = {}
        for split, blocks in data._asdict().items():
            chosen = blocks[_evenly_spread(len(blocks))]
            losses, errors = jax.lax.map(evaluate_block, chosen, batch_size=EVALUATED_TOGETHER)
            metrics[f"{split}_loss"] = jnp.mean(losses)
            metrics[f"{split}_error"] = jnp.mean(errors)
        return metrics

    return Workload(
        data=data,
        init=lambda key: model.init(key, jnp.zeros((1, length - 1), data.train.dtype)),
        # short runs see a fraction of an epoch, of which `epoch_indices` would shuffle the whole: 60 ms a run
        indices=lambda key, batch_size, num_steps: subset_indices(key, num_train, batch_size, num_steps),
        batch=lambda data, indices: data.train[indices],
        loss=loss,
        evaluate=evaluate,
    )


def shakespeare(*, width: int = 64, layers: int = 2, heads: int = 4, context: int = 64) -> Workload:
    """A transformer on the characters of Shakespeare's 38 plays, the last tenth of each held out.

    Args:
      width: channels of the residual stream; a multiple of `heads`.
      layers: blocks of attention and MLP.
      heads: attention heads of width / heads channels each.
      context: characters a block predicts, each from those before it in the block.

    Raises:
      ValueError: an option is not as described, or the plays are not there: see `load_shakespeare`.
    """
    for name, value in {"width": width, "layers": layers, "heads": heads}.items():
        if value < 1:
            raise ValueError(f"shakespeare: {name} must be at least 1, got {value}")
    if width % heads:
        raise ValueError(f"shakespeare: heads must divide width={width}, got {heads}")
    data = TextData(*(jnp.asarray(blocks) for blocks in load_shakespeare(context)))
    return language_model(data, Transformer(NUM_CHARACTERS, context, width, layers, heads))


def _evenly_spread(num_blocks: int) -> np.ndarray:
    """The indices of up to EVALUATED_BLOCKS blocks, at equal distances."""
    count = min(num_blocks, EVALUATED_BLOCKS)
    return np.arange(count) * num_blocks // count
