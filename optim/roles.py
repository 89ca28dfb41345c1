"""What the names on a parameter's path say of its role: vector, embedding, output head, inside attention."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_COUNT = re.compile(r"_?\d+$")  # Dense_0, conv1

_VECTOR = re.compile(r"(^|_)(bias|scale|offset|gamma|beta)$")
_STACKED_VECTOR = re.compile(r"^b(\d*|_.*)$")
_NORM = re.compile(r"norm$|^norm_|^ln(_|$)|_ln$")
_EMBEDDING = re.compile(r"embed|embs?$|^w[tp]e$")
_ATTENTION = re.compile(r"(attention|attn|mha|multi_?head)$")
_HEAD = re.compile(r"(^|_)(head|classifier|logits)$|^logits_|^unembed")
_ATTENTION_HEAD = re.compile(r"(attention|attn|multi|self|cross|query|key|value|q?kv)_head$")
_OUTPUT = re.compile(r"^(output|score)(_(layer|proj|projection|dense))?$")


def words(path: str) -> tuple[str, ...]:
    """The names on a path in lower case, words joined by "_".

    >>> words("ScanBlock_0/LMHead/kernel")
    ('scan_block_0', 'lm_head', 'kernel')
    """
    return tuple(_WORD.sub("_", name).lower() for name in path.split("/"))


def is_vector(names: Sequence[str], *, stacked: bool = False) -> bool:
    """Whether the leaf is a bias, a scale or the like, `stacked` ones too, or belongs to a normalisation."""
    name = names[-1]
    return (
        bool(_VECTOR.search(name))
        or (stacked and bool(_STACKED_VECTOR.search(name)))
        or any(_NORM.search(_uncounted(n)) for n in names[-2:])
    )


def is_embedding(names: Sequence[str]) -> bool:
    """Whether a name says that the leaf embeds; patches are not looked up but multiplied."""
    return any(_EMBEDDING.search(_uncounted(name)) and "patch" not in name for name in names)


def in_attention(names: Sequence[str]) -> bool:
    return any(_ATTENTION.search(_uncounted(name)) for name in names)


def is_head(names: Sequence[str], *, stacked: bool = False) -> bool:
    """Whether the leaf belongs to the output head, and not to a head of attention.

    `output` and `score` are names of inner layers as well: they say head only where nothing above them is
    counted, `stacked` or attention.
    """
    plain = [_uncounted(name) for name in names]
    for place, name in enumerate(plain):
        if _HEAD.search(name) and not _ATTENTION_HEAD.search(name) and not in_attention(names[:place][-1:]):
            return True
    layer = next((place for place in (-1, -2) if _OUTPUT.search(plain[place:][0])), None)
    return layer is not None and not (
        stacked or plain[:layer] != list(names[:layer]) or in_attention(names[:layer])
    )


def _uncounted(name: str) -> str:
    return _COUNT.sub("", name)
