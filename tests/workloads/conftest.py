"""A miniature of WikiText-103, in its layout."""

import numpy as np
import pytest

ONSETS, RHYMES = (
    ("b", "d", "f", "g", "h", "k", "l", "m", "pr", "qu", "st", "th", "v", "x"),
    ("a", "en", "ir", "oy", "um"),
)
SYLLABLES = [onset + rhyme for onset in ONSETS for rhyme in RHYMES]
SPECIAL = ("日本", "naïve", "½", "@-@", "@,@", "1", "000", "<unk>", "</s>", "the", "of", "and")
WORDS = (*(first + second for first in SYLLABLES[::3] for second in SYLLABLES[::4]), *SPECIAL)


def miniature(seed: int, num_lines: int) -> str:
    """Headings, empty lines and paragraphs, each with a space before and after."""
    random, lines = np.random.default_rng(seed), []
    for number in range(num_lines):
        if number % 7 == 0:
            line = f" = {' '.join(random.choice(WORDS, 2))} = "
        else:
            line = f" {' '.join(random.choice(WORDS, random.integers(5, 60)))} . " if number % 2 else " "
        lines.append(line + "\n")
    return "".join(lines)


@pytest.fixture(scope="session")
def wikitext() -> dict[str, str]:
    """The text of a training and of a validation split."""
    return {"train": miniature(1, 600), "validation": miniature(2, 90)}


@pytest.fixture
def wikitext_folder(tmp_path, wikitext):
    """A folder with both as plain text."""
    folder = tmp_path / "wikitext103"
    folder.mkdir()
    (folder / "wiki.train.raw").write_text(wikitext["train"], encoding="utf-8")
    (folder / "wiki.valid.raw").write_text(wikitext["validation"], encoding="utf-8")
    return folder
