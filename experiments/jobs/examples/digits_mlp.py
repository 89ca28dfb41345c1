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


def final_loss(learning_rates, seed):
    x, y = load_digits(return_X_y=True)
    x, classes, random = x / 16, np.unique(y), np.random.default_rng(seed)
    model = MLPClassifier((32,), solver="sgd", momentum=0.9, random_state=random.integers(2**31))
    model.partial_fit(x[:1], y[:1], classes=classes)  # makes the optimizer, whose rate is set from here on
    for rate in learning_rates:
        model._optimizer.learning_rate = rate
        rows = random.choice(len(x), BATCH, replace=False)
        model.partial_fit(x[rows], y[rows])
    return log_loss(y, np.nan_to_num(model.predict_proba(x), nan=0.1), labels=classes)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of numbers that overflow: the loss tells
    trial = json.load(sys.stdin)
    print(final_loss(trial["learning_rates"], trial["seed"]))
