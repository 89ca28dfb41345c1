"""What disks, networks and hands do to a file."""

import numpy as np

PAGE = 4096


def flip_bit(content, rng):
    changed = bytearray(content)
    changed[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return bytes(changed)


def cut(content, rng):
    return content[: rng.integers(len(content))]


def overwrite(content, rng):
    start, length = rng.integers(len(content)), rng.integers(1, 200)
    return (content[:start] + rng.bytes(length) + content[start + length :])[: len(content)]


def zero_page(content, rng):
    start = PAGE * rng.integers(_pages(content))
    return content[:start] + bytes(len(content[start : start + PAGE])) + content[start + PAGE :]


def swap_pages(content, rng):
    first, second = sorted(PAGE * rng.choice(_pages(content), 2, replace=False))
    pages = content[first : first + PAGE], content[second : second + PAGE]
    stretch = content[first + PAGE : second]
    return content[:first] + pages[1] + stretch + pages[0] + content[second + PAGE :]


def append(content, rng):
    return content + rng.bytes(rng.choice([1, 100, PAGE]))


def repeat_page(content, rng):
    start, place = PAGE * rng.choice(_pages(content), 2, replace=False)
    return content[:place] + content[start : start + PAGE] + content[place + rng.choice([0, PAGE]) :]


DAMAGES = (flip_bit, cut, overwrite, zero_page, swap_pages, append, repeat_page)


def damaged(content, number):
    """Damage number `number`, each of the kinds in turn; never the content itself."""
    rng = np.random.default_rng([7, number])
    while (changed := DAMAGES[number % len(DAMAGES)](content, rng)) == content:
        pass
    return changed


def _pages(content):
    return -(-len(content) // PAGE)
