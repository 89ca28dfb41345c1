"""Folders of finished studies that hold no more than their winners."""

import json

from schedules import FAMILIES

MIDDLE = {  # a point inside each family's space, off its corners
    name: {parameter: (interval.low + 2 * interval.high) / 3 for parameter, interval in family.space.items()}
    for name, family in FAMILIES.items()
}


def entry(name, params=None, base_lr=0.03, **others):
    """A family's winner; `others` change its options, or stand beside it."""
    options = {option: others.pop(option) for option in FAMILIES[name].options if option in others}
    options = {**FAMILIES[name].options, **options}
    shape = {"options": options, "params": params or MIDDLE[name], "base_lr": base_lr}
    return {"family": name, **shape, **others}


def winners_folder(path, *entries, num_steps=17):
    path.mkdir(exist_ok=True)
    content = {"format": "steepest winners 1", "num_steps": num_steps, "winners": list(entries)}
    (path / "winners.json").write_text(json.dumps(content))
    return path
