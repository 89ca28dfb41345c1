"""The losses of the study as workloads: focal, and over environments, with penalties that may be traced."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from experiments.study.training.cross_validation import Split, classifier
from workloads import Workload
from workloads.environments import Objective, mean_risk
from workloads.images import MLP
from workloads.invariance import bottleneck_irm, group_dro, irm, risk_extrapolation, risks
from workloads.losses import focal
from workloads.training import Optimizer

BOTTLENECK = 0.1  # the weight of the logits' variance in IB-IRM
NETWORK, LOG_WEIGHTS = "network", "log_weights"  # what group DRO trains

PENALISED: Mapping[str, float] = MappingProxyType(  # methods, with the unit of their weights
    {"irm": 1.0, "vrex": 1.0, "ib_irm": 1.0, "group_dro": 0.01}
)
OBJECTIVES: Mapping[str, Callable[[ArrayLike], Objective]] = MappingProxyType(
    {  # those that are functions of a batch alone
        "erm": lambda weight: mean_risk,
        "irm": lambda weight: partial(irm, weight=weight),
        "vrex": lambda weight: lambda logits, labels: risk_extrapolation(risks(logits, labels), weight),
        "ib_irm": lambda weight: (
            lambda logits, labels: bottleneck_irm(logits, labels, logits, weight, BOTTLENECK)
        ),
    }
)


def focal_mean(gamma: ArrayLike) -> Objective:
    """The mean focal loss over all environments."""
    return lambda logits, labels: jnp.mean(jax.vmap(partial(focal, gamma=gamma))(logits, labels))


def invariant_workload(method: str, weight: ArrayLike, split: Split, model: MLP) -> Workload:
    """What trains `model` by a method over environments."""
    if method == "group_dro":
        return group_dro_workload(weight, split, model)
    return classifier(split, model, OBJECTIVES[method](weight))


def group_dro_workload(step_size: ArrayLike, split: Split, model: MLP) -> Workload:
    """Group DRO, whose weights q of the environments are trained beside the network.

    ln q takes the step η R: that of a descent on -η⟨ln q, R⟩ at a learning rate of 1; see `beside_weights`.
    """
    network = classifier(split, model)
    environments = len(split.train_images)

    def loss(params, batch, key):
        images, labels = batch
        found = risks(jax.vmap(model.apply, in_axes=(None, 0))(params[NETWORK], images), labels)
        weighted, _ = group_dro(found, jax.nn.softmax(params[LOG_WEIGHTS]), step_size)
        return weighted - step_size * jnp.vdot(params[LOG_WEIGHTS], jax.lax.stop_gradient(found))

    return network._replace(
        init=lambda key: {NETWORK: network.init(key), LOG_WEIGHTS: jnp.zeros(environments)},
        loss=loss,
        evaluate=lambda params, split: network.evaluate(params[NETWORK], split),
    )


def beside_weights(optimizer: Optimizer) -> Optimizer:
    """The optimizer for the network of group DRO, whose weights take their own steps."""
    return lambda schedule: optax.multi_transform(
        {NETWORK: optimizer(schedule), LOG_WEIGHTS: optax.sgd(1.0)},
        {NETWORK: NETWORK, LOG_WEIGHTS: LOG_WEIGHTS},
    )
