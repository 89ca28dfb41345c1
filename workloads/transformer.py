"""A decoder-only transformer, in four sizes."""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from workloads.dense import dense_product

dense = functools.partial(nn.Dense, dot_general=dense_product)
LARGEST_ONE_HOT = 256  # tokens: a byte's worth
LARGEST_WIDTH = 16_384  # beyond which a block's parameters fill what one device has
MOST_LAYERS = 1_000  # each is traced


class Size(NamedTuple):
    """Channels of the residual stream, blocks, heads of width / heads channels, and tokens seen at once."""

    width: int
    layers: int
    heads: int
    context: int


# heads of 16 channels and an MLP of 4·width units throughout. The sizes of arXiv:2603.10301 are not known:
# "paper" is the nearest default of the library it was made with (embedding and qkv 128, MLP 512)
SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "laptop": Size(64, 2, 4, 64),
        "small": Size(96, 3, 6, 128),
        "medium": Size(128, 4, 8, 128),
        "paper": Size(128, 6, 8, 256),
    }
)


class Block(nn.Module):
    """x ← x + attention(norm(x)), then x ← x + MLP(norm(x)), the MLP of 4·width GELU units.

    Given a key called "dropout", this fraction of what each branch adds is dropped. Where "intermediates" are
    mutable, `max_logits` are among them.
    """

    heads: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "batch time width"]) -> Float[Array, "batch time width"]:
        width = x.shape[-1]
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        qkv = dense(3 * width, use_bias=False, name="qkv")(nn.LayerNorm(name="attention_norm")(x))
        if self.is_mutable_collection("intermediates"):
            self.sow(
                "intermediates", "max_logits", max_logits(qkv, self.heads), lambda _, new: new, lambda: ()
            )
        x += drop(dense(width, use_bias=False, name="out")(causal_attention(qkv, self.heads)))
        hidden = nn.gelu(dense(4 * width, name="up")(nn.LayerNorm(name="mlp_norm")(x)))
        return x + drop(dense(width, name="down")(hidden))


class Transformer(nn.Module):
    """Token plus position embeddings, `layers` pre-LayerNorm blocks, a last LayerNorm and the `head`.

    The logits at a position are those of the next token. Positions start as `sinusoids` and are trained.
    Given a key called "dropout", this fraction of the embeddings and of what each branch adds is dropped, and
    what is left divided by 1 - dropout. Activations have the parameters' type; attention weights and logits
    are at least float32.
    """

    num_tokens: int
    context: int
    width: int = 64
    layers: int = 2
    heads: int = 4
    dropout: float = 0.0

    @nn.compact
    def __call__(self, ids: Integer[Array, "batch time"]) -> Float[Array, "batch time tokens"]:
        unit = nn.initializers.normal(1.0)  # the sinusoids' scale: Flax's own, 1/√width, learns more slowly
        table = nn.Embed(self.num_tokens, self.width, embedding_init=unit, name="embed").embedding
        positions = self.param("position_embed", lambda key: sinusoids(self.context, self.width))
        x = embed(table, ids)
        x += positions[None, : ids.shape[1]]
        x = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(x)
        for layer in range(self.layers):
            x = Block(self.heads, self.dropout, name=f"block_{layer}")(x)
        logits = dense(self.num_tokens, name="head")(nn.LayerNorm(name="head_norm")(x))
        return _at_least_float32(logits)


def sized_transformer(
    workload: str, num_tokens: int, size: str, dropout: float, **changes: int | None
) -> Transformer:
    """The transformer of a named size, with those of `changes` to it that are not None.

    Raises ValueError, in the name of `workload`, for a size or a dropout there is none of, for a width not
    in [1, 16,384] or layers not in [1, 1,000], and when the heads do not divide the width. What context the
    data allows is not known here.
    """
    if size not in SIZES:
        raise ValueError(f"{workload}: size must be one of {list(SIZES)}, got {size!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"{workload}: dropout must be in [0, 1), got {dropout}")
    chosen = SIZES[size]._replace(**{name: value for name, value in changes.items() if value is not None})
    for name, most in (("width", LARGEST_WIDTH), ("layers", MOST_LAYERS), ("heads", chosen.width)):
        value = getattr(chosen, name)
        if not 1 <= value <= most:
            raise ValueError(f"{workload}: {name} must be in [1, {most}], got {value}")
    if chosen.width % chosen.heads:
        raise ValueError(f"{workload}: heads must divide width={chosen.width}, got {chosen.heads}")
    return Transformer(num_tokens, **chosen._asdict(), dropout=dropout)


def embed(
    table: Float[Array, "tokens width"], ids: Integer[Array, "batch time"]
) -> Float[Array, "batch time width"]:
    """The rows of `table` that `ids` name.

    A look-up where there are more than LARGEST_ONE_HOT tokens: on a CPU some 40 times as fast as the product
    with 8,192 one-hot columns, which is a third as much work as the rest of the model. Its gradient is a
    scatter, which on a GPU adds in no fixed order (unless XLA is told so by --xla_gpu_deterministic_ops).
    Where there are fewer tokens, the product, which is repeated to the bit everywhere.
    """
    if len(table) > LARGEST_ONE_HOT:
        return table[ids]
    return jax.nn.one_hot(ids, len(table), dtype=table.dtype) @ table


def causal_attention(
    qkv: Float[Array, "batch time three_widths"], heads: int
) -> Float[Array, "batch time width"]:
    """softmax(q kᵀ / √d) v over the positions up to each one, per head of d channels; heads side by side.

    The channels of `qkv` are all queries, then all keys, then all values, each grouped by head.
    """
    batch, time, channels = qkv.shape
    logits, v = _logits_and_values(qkv, heads)
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(batch, time, channels // 3)


def max_logits(qkv: Float[Array, "batch time three_widths"], heads: int) -> Float[Array, "heads"]:
    """The largest logit of `causal_attention` in each head, which `optim.qk_clip` takes."""
    logits, _ = _logits_and_values(qkv, heads)
    return jnp.max(logits, axis=(0, 2, 3))


def _logits_and_values(
    qkv: Float[Array, "batch time three_widths"], heads: int
) -> tuple[Float[Array, "batch heads time time"], Float[Array, "batch time heads channels"]]:
    """q kᵀ / √d, -∞ for what comes later, and v."""
    batch, time, channels = qkv.shape
    split = qkv.reshape(batch, time, 3, heads, channels // (3 * heads))
    q, k, v = split[:, :, 0], split[:, :, 1], split[:, :, 2]
    scores = _at_least_float32(jnp.einsum("bqhd,bkhd->bhqk", q, k)) / np.sqrt(q.shape[-1])
    past = np.tril(np.ones((1, 1, time, time), bool))
    return jnp.where(past, scores, -jnp.inf), v


def sinusoids(length: int, width: int) -> Float[Array, "length width"]:
    """sin(t f_i) and cos(t f_i) in turn, with f_i = 10000^(-2i/width), at the positions t = 0 … length - 1.

    Source: Vaswani et al. (2017), arXiv:1706.03762, section 3.5.
    """
    channel = np.arange(width)
    angles = np.arange(length)[:, None] * 1e4 ** -(channel // 2 * 2 / width)
    return jnp.asarray(np.where(channel % 2, np.cos(angles), np.sin(angles)), jnp.float32)


def _at_least_float32(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """A softmax over numbers of eight bits would lose the small differences that training is about."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
