"""Language modelling: the workloads that train a transformer on blocks of tokens."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PRNGKeyArray, UInt

from workloads.datasets.shakespeare import NUM_CHARACTERS, load_shakespeare
from workloads.datasets.wikitext103 import load_wikitext103
from workloads.evaluation import mean_over_examples
from workloads.transformer import sized_transformer
from workloads.workload import Workload, epoch_indices, subset_indices

EVALUATED_BLOCKS = 256  # of each split, evenly spread
EVALUATED_TOGETHER = 32  # blocks: an evaluation takes no more memory than a step on such a batch


class TextData(NamedTuple):
    """Blocks of ids; the inputs of a block are all but its last id, the targets all but its first."""

    train: UInt[Array, "train length"]
    test: UInt[Array, "test length"]


def language_model(
    data: TextData,
    model: nn.Module,
    *,
    indices: Callable[[PRNGKeyArray, int, int, int], Int[Array, "steps batch"]],
    evaluated: Callable[[TextData], TextData],
) -> Workload:
    """Train `model`, ids → logits of the next ids, on the mean cross-entropy per token, in nats.

    Metrics: the mean cross-entropy "train_loss" and "test_loss", and the fraction of next tokens
    mispredicted "train_error" and "test_error". The loss's key is the model's key for dropout; an evaluation
    has none and drops nothing.

    Args:
      indices: which blocks each step sees: `epoch_indices` or `subset_indices`.
      evaluated: the blocks of each split that the metrics are means over.
    """
    num_train, length = data.train.shape

    def losses_and_errors(params, blocks, **keys):
        logits, targets = model.apply(params, blocks[:, :-1], **keys), blocks[:, 1:]
        # one-hot, which is fused: as fast as picking by index at 84 tokens and at 8,192, in as little memory
        losses = optax.softmax_cross_entropy(logits, jax.nn.one_hot(targets, logits.shape[-1]))
        return losses, jnp.argmax(logits, axis=-1) != targets

    def loss(params, blocks, key):
        return jnp.mean(losses_and_errors(params, blocks, rngs={"dropout": key})[0])

    def max_logits(params, blocks):
        _, sown = model.apply(params, blocks[:, :-1], mutable="intermediates")
        return {"params": sown["intermediates"]}

    def evaluate(params, data):
        metrics = {}
        for split, blocks in evaluated(data)._asdict().items():

            def measure(index, blocks=blocks):
                losses, errors = losses_and_errors(params, blocks[index])
                return jnp.mean(losses, axis=1), jnp.mean(errors, axis=1)

            mean_loss, error = mean_over_examples(measure, len(blocks), EVALUATED_TOGETHER)
            metrics |= {f"{split}_loss": mean_loss, f"{split}_error": error}
        return metrics

    return Workload(
        data=data,
        init=lambda key: model.init(key, jnp.zeros((1, length - 1), data.train.dtype)),
        indices=lambda key, batch_size, num_steps: indices(key, num_train, batch_size, num_steps),
        batch=lambda data, indices: data.train[indices],
        loss=loss,
        evaluate=evaluate,
        max_logits=max_logits,
    )


def evenly_spread(data: TextData) -> TextData:
    """Of each split, up to EVALUATED_BLOCKS blocks at equal distances."""

    def chosen(num_blocks):
        count = min(num_blocks, EVALUATED_BLOCKS)
        return np.arange(count) * num_blocks // count

    return TextData(*(blocks[chosen(len(blocks))] for blocks in data))


def first_tenth_and_held_out(data: TextData) -> TextData:
    """The first tenth of the training blocks, rounded up, and all the held-out ones."""
    return TextData(data.train[: -(-len(data.train) // 10)], data.test)


def shakespeare(
    *,
    size: str = "laptop",
    width: int | None = None,
    layers: int | None = None,
    heads: int | None = None,
    context: int | None = None,
    dropout: float = 0.0,
) -> Workload:
    """A transformer on the characters of Shakespeare's 38 plays, the last tenth of each held out.

    Evaluated on EVALUATED_BLOCKS fixed blocks spread evenly over each split.

    Args:
      size: "laptop", "small", "medium" or "paper", see `transformer.SIZES`; the next four change it.
      width: channels of the residual stream; a multiple of `heads`.
      layers: blocks of attention and MLP.
      heads: attention heads of width / heads channels each.
      context: characters a block predicts, each from those before it in the block.
      dropout: the fraction of embeddings and of what each branch adds that a training step drops.

    Raises:
      ValueError: an option is not as described, or the plays are not there: see `load_shakespeare`.
    """
    changes = {"width": width, "layers": layers, "heads": heads, "context": context}
    model = sized_transformer("shakespeare", NUM_CHARACTERS, size, dropout, **changes)
    data = TextData(*map(jnp.asarray, load_shakespeare(model.context)))
    # short runs see a fraction of an epoch, of which `epoch_indices` would shuffle the whole: 60 ms a run
    return language_model(data, model, indices=subset_indices, evaluated=evenly_spread)


def wikitext103(
    *,
    folder: str | None = None,
    files: str = "published",
    vocabulary: int = 8192,
    size: str = "paper",
    width: int | None = None,
    layers: int | None = None,
    heads: int | None = None,
    context: int | None = None,
    dropout: float = 0.0,
) -> Workload:
    """A transformer on the tokens of WikiText-103, from files on this machine.

    Evaluated on the first tenth of the training blocks and on all those of the validation split.

    Args:
      folder: where the files are; see `load_wikitext103`.
      files: "published" insists on the published text, "any" takes another one in the same layout.
      vocabulary: tokens of the unigram vocabulary that is made of the training text.
      size: "laptop", "small", "medium" or "paper", see `transformer.SIZES`; the next four change it.
      width: channels of the residual stream; a multiple of `heads`.
      layers: blocks of attention and MLP.
      heads: attention heads of width / heads channels each.
      context: tokens a block predicts, each from those before it in the block.
      dropout: the fraction of embeddings and of what each branch adds that a training step drops.

    Raises:
      ValueError: an option is not as described, or the files are not: see `load_wikitext103`.
      ImportError: SentencePiece is missing, or pyarrow where the files are parquet.
    """
    changes = {"width": width, "layers": layers, "heads": heads, "context": context}
    model = sized_transformer("wikitext103", vocabulary, size, dropout, **changes)
    splits = load_wikitext103(model.context, vocabulary=vocabulary, folder=folder, files=files)
    data = TextData(*map(jnp.asarray, splits))
    # long runs go through the text more than once; shuffling half a million blocks takes them no time
    return language_model(data, model, indices=epoch_indices, evaluated=first_tenth_and_held_out)
