"""Classifiers tested on all images under several conditions, each by runs that have seen no copy of it.

A replicate leaves out one of three folds. What it does on these images is told of each condition: how many
of each cluster it misclassifies, from which intervals are resampled, and whether it is calibrated.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from experiments.study.options.checks import Check
from experiments.study.statistics.fractions import ClusteredShares
from geometry.calibration import (
    chance_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
    top_class,
)
from workloads import Workload
from workloads.datasets.all_digits import Copies
from workloads.datasets.coloured_digits import ColouredDigits
from workloads.environments import Objective, mean_risk, over_environments
from workloads.images import MLP

FOLDS = 3
CLUSTERS = 12  # that the images of a fold are cut into
CHANCE_DRAWS = 20  # of outcomes, for a run; the mean over runs has many more
WRONG = "wrong"  # the metric that is counted by cluster


class CrossValidated:
    """For configs of such runs: each of their stages leaves out all folds equally often.

    Attributes:
      metric: the one that decides.
    """

    metric: ClassVar[str] = "validation_loss"

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        whole = Check(f"a multiple of the {FOLDS} folds", lambda count: count % FOLDS == 0)
        for name in filter(self.sound, ("screen_replicates", "confirm_replicates")):
            yield from whole.problems(name, getattr(self, name))


class Split(NamedTuple):
    """The images of a run, under the conditions in which each part is seen.

    Attributes:
      train_images, train_labels: under the first conditions, as many as are trained in; dealt out to them
        where these are several.
      validation_images, validation_labels: of the same conditions, together.
      test_images, test_labels: the images left out, under all conditions.
      key: of the chance that calibration is compared with.
    """

    train_images: Float[Array, "environments train height width channels"]
    train_labels: Int[Array, "environments train"]
    validation_images: Float[Array, "validation height width channels"]
    validation_labels: Int[Array, "validation"]
    test_images: Float[Array, "conditions test height width channels"]
    test_labels: Int[Array, "test"]
    key: PRNGKeyArray


def split(
    copies: Copies, fold: Int[ArrayLike, ""], environments: int, validation_size: int, key: PRNGKeyArray
) -> Split:
    """What the run that leaves out this fold sees.

    Args:
      copies: all images.
      fold: its number.
      environments: conditions that are trained in, the first ones; each has images of its own.
      validation_size: images that no run of the fold trains on.
      key: see `Split`.
    """
    count = len(copies.labels)
    test, validation, train = jnp.split(
        (fold * (count // FOLDS) + jnp.arange(count)) % count,
        [count // FOLDS, count // FOLDS + validation_size],
    )

    def dealt(places):
        places = places[: len(places) // environments * environments].reshape(environments, -1)
        return copies.images[jnp.arange(environments)[:, None], places], copies.labels[places]

    validation_images, validation_labels = (x.reshape(-1, *x.shape[2:]) for x in dealt(validation))
    return Split(
        *dealt(train), validation_images, validation_labels, copies.images[:, test], copies.labels[test], key
    )


def classifier(split: Split, model: MLP, objective: Objective = mean_risk) -> Workload:
    """What trains `model` on the images of a run, and evaluates it as `evaluated` does."""
    data = ColouredDigits(*split[:4])
    return over_environments(data, model, objective)._replace(
        data=split, evaluate=lambda params, split: evaluated(model.apply, params, split)
    )


def evaluated(
    apply: Callable[[PyTree, Array], Array], params: PyTree, split: Split
) -> dict[str, Float[Array, "*conditions_and_clusters"]]:
    """What the classifier does on the images of a run.

    Of all training and validation images the mean cross-entropy and error, as scalars; of the test images the
    same of every condition, with the ECE and what chance makes of it, and the misclassified of each cluster.
    """

    def scored(images, labels):
        logits = apply(params, images)
        return logits, negative_log_likelihood(logits, labels), jnp.argmax(logits, axis=1) != labels

    def tested(images, key):
        logits, loss, wrong = scored(images, split.test_labels)
        confidences, correct = top_class(jax.nn.softmax(logits), split.test_labels)
        return {
            "test_loss": loss,
            "test_error": jnp.mean(wrong),
            "ece": expected_calibration_error(confidences, correct),
            "chance_ece": chance_calibration_error(confidences, key, draws=CHANCE_DRAWS),
            WRONG: jax.ops.segment_sum(wrong.astype(float), _clusters(len(wrong)), CLUSTERS),
        }

    train_images, train_labels = (x.reshape(-1, *x.shape[2:]) for x in split[:2])
    _, train_loss, train_wrong = scored(train_images, train_labels)
    _, validation_loss, validation_wrong = scored(split.validation_images, split.validation_labels)
    keys = jax.random.split(split.key, len(split.test_images))
    return {
        "train_loss": train_loss,
        "train_error": jnp.mean(train_wrong),
        "validation_loss": validation_loss,
        "validation_error": jnp.mean(validation_wrong),
        **jax.lax.map(lambda pair: tested(*pair), (split.test_images, keys)),
    }


def columns(
    metrics: Mapping[str, Float[np.ndarray, "runs evaluations *conditions_and_clusters"]],
    conditions: Sequence[str],
) -> dict[str, Float[np.ndarray, "runs"]]:
    """What `evaluated` said at the end of each run, as metrics of the journal."""
    named = {}
    for name, values in metrics.items():
        last = values[:, -1]
        if last.ndim == 1:
            named[name] = last
        elif name != WRONG:
            named |= {of_condition(name, c): last[:, place] for place, c in enumerate(conditions)}
        else:
            named |= {
                in_cluster(condition, cluster): last[:, place, cluster]
                for place, condition in enumerate(conditions)
                for cluster in range(CLUSTERS)
            }
    return named


def of_condition(metric: str, condition: str) -> str:
    """What a metric of one condition is called in the journal."""
    return f"{metric} {condition}"


def in_cluster(condition: str, cluster: int) -> str:
    """What the misclassified images of a cluster are called there."""
    return f"{of_condition(WRONG, condition)} #{cluster}"


def errors(
    runs: Iterable[tuple[int, Mapping[str, float]]], conditions: Sequence[str], num_images: int
) -> ClusteredShares:
    """The error of runs together, under each condition, by cluster of images.

    Args:
      runs: the replicate of each, which says what it left out, and its metrics.
      conditions: by name.
      num_images: of all folds.
    """
    sizes = np.bincount(_clusters(num_images // FOLDS))
    counts, totals = np.zeros((len(conditions), FOLDS, CLUSTERS)), np.zeros((1, FOLDS, CLUSTERS))
    for replicate, metrics in runs:
        counts[:, replicate % FOLDS] += [
            [metrics[in_cluster(condition, cluster)] for cluster in range(CLUSTERS)]
            for condition in conditions
        ]
        totals[:, replicate % FOLDS] += sizes
    return ClusteredShares(counts.reshape(len(conditions), -1), totals.reshape(1, -1))


def _clusters(num_images: int) -> Int[np.ndarray, "images"]:
    """The cluster of each image of a fold."""
    return np.arange(num_images) * CLUSTERS // num_images
