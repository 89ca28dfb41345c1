"""A SentencePiece unigram tokeniser (Kudo, 2018, arXiv:1804.10959): silent, and the same for the same text.

Choices of this project: nothing of a text is lost, since nothing is normalised and a character too rare for
the vocabulary becomes its bytes, for which 256 of the tokens stand; except that "▁" is read as a space.
"""

import io
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

END_OF_LINE = 1
LARGEST_VOCABULARY = 2**16  # ids have 16 bits
TRAINING_THREADS = 4  # sums of counts, and with them the vocabulary, depend on it in the last digits
LINES_TOGETHER = 8192
LONGEST_WORD = 4096  # characters between spaces; the time to train grows with their square
OPTIONS = {
    "model_type": "unigram",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "unk_id": 0,
    "eos_id": END_OF_LINE,
    "bos_id": -1,
    "pad_id": -1,
    "max_sentence_length": 2**30,  # the default leaves out lines of more than 4,192 bytes
    "num_threads": TRAINING_THREADS,
    "minloglevel": 2,
}


def train_tokenizer(lines: Iterable[str], vocabulary: int) -> bytes:
    """A unigram model of exactly `vocabulary` tokens, serialised.

    A word of more than LONGEST_WORD characters is learnt from in pieces of so many; it is encoded whole.

    Raises:
      ValueError: the lines do not suffice for so many tokens, or have too many characters for so few.
      ImportError: SentencePiece is missing.
    """
    model = io.BytesIO()
    try:
        _sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=_sentences(lines), model_writer=model, vocab_size=vocabulary, **OPTIONS
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2] or str(error)
        raise ValueError(
            f"no vocabulary of {vocabulary:,} tokens can be made of this text: {reason}"
        ) from error
    return model.getvalue()


def encode(model: bytes, lines: Iterable[str]) -> Iterator[np.ndarray]:
    """The ids of the lines, END_OF_LINE after each, as uint16 pieces of some thousand lines each."""
    tokenizer = _sentencepiece().SentencePieceProcessor(model_proto=model)
    lines = iter(lines)
    while batch := list(itertools.islice(lines, LINES_TOGETHER)):
        ids = tokenizer.encode(batch, add_eos=True)
        yield np.fromiter(itertools.chain.from_iterable(ids), np.uint16)


def _sentences(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from filter(None, re.sub(f"([^ ]{{{LONGEST_WORD}}})", "\\1\n", line).split("\n"))


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ModuleNotFoundError as error:
        raise ImportError("tokenisers need SentencePiece: pip install 'steepest[text]'") from error
    return sentencepiece
