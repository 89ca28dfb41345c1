"""A training job that knows nothing of Steepest: a trial comes in, a line of JSON; the final loss goes out.

scikit-learn's network on its handwritten digits, with a learning rate of its own for every step.
"""

import json
import sys
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

BATCH = 64


def digits():
    x, y = load_digits(return_X_y=True)
    return x / 16, y


def begun(seed):
    """The state before the first step: the network, and what draws its batches."""
    x, y = digits()
    random = np.random.default_rng(seed)
    model = MLPClassifier((32,), solver="sgd", momentum=0.9, random_state=random.integers(2**31))
    model.partial_fit(
        x[:1], y[:1], classes=np.unique(y)
    )  # makes the optimizer, whose rate is set from here on
    return model, random


def train(state, learning_rates):
    """Go on from a state, a step a rate."""
    (model, random), (x, y) = state, digits()
    for rate in learning_rates:
        model._optimizer.learning_rate = rate
        rows = random.choice(len(x), BATCH, replace=False)
        model.partial_fit(x[rows], y[rows])


def loss_of(state):
    (model, _), (x, y) = state, digits()
    return log_loss(y, np.nan_to_num(model.predict_proba(x), nan=0.1), labels=model.classes_)


def final_loss(learning_rates, seed):
    state = begun(seed)
    train(state, learning_rates)
    return loss_of(state)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of numbers that overflow: the loss tells
    trial = json.load(sys.stdin)
    print(final_loss(trial["learning_rates"], trial["seed"]))
