"""A training job whose runs go on from a trunk: the first that needs it trains and saves it for all others.

Of a search begun with `steepest jobs create FOLDER --trunk-steps N …`; its states lie in the folder TRUNKS:

    python digits_branches.py TRUNKS < trial.json
"""

import json
import os
import pickle
import sys
import warnings
from pathlib import Path

from digits_mlp import begun, loss_of, train

RATE = 0.2  # of the trunk's steps


def end_of_trunk(trunk, seed, folder):
    """The state that the trunk ends with, which is the same whoever trained it."""
    path = Path(folder) / f"{trunk['name']}.pickle"
    if not path.exists():
        state = begun(seed)
        train(state, [RATE] * trunk["steps"])
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(pickle.dumps(state))
        partial.replace(path)  # in full or not at all: others may be waiting for it
    return pickle.loads(path.read_bytes())


def final_loss(trial, folder):
    state = end_of_trunk(trial["trunk"], trial["seed"], folder)
    train(state, trial["learning_rates"])
    return loss_of(state)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of numbers that overflow: the loss tells
    print(final_loss(json.load(sys.stdin), sys.argv[1]))
