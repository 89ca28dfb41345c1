"""Searches by name: what the options of the command line start from.

The paper's own budgets, grids and horizons could not be read: those of `cifar10` and `wikitext103` are this
project's choice of that order, for accelerators. Their families are the paper's ten.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from experiments.shape_search.config import CURVES, Config

PAPER_FAMILIES = (
    *("constant", "cosine", "generalized_cosine", "cosine_floor", "sqrt", "rex"),
    *("two_point_linear", "two_point_spline", "two_point_spline_floor", "smooth_nonmonotonic"),
)
PAPER_SCALE = Config(
    strategy="trust_region",
    families=PAPER_FAMILIES,
    evaluations=8,
    candidates=128,
    rung_replicates=(1, 3),
    rung_horizons=(1.0, 1.0),
    top=5,
    select_replicates=15,
    confirm_replicates=100,
    checked=1,
    local_replicates=3,
    check_replicates=30,
)
PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "shakespeare": Config(
            workload="shakespeare",
            strategy="trust_region",
            families=("cosine", "constant", "wsd", "two_point_spline_floor", "smooth_nonmonotonic"),
            metric="test_loss",
            optimizer="adamw",
            batch_size=16,
            num_steps=200,
            learning_rates=(0.001, 0.1),
            candidates=40,
            rung_replicates=(1,),
            top=4,
            select_replicates=6,
            confirm_replicates=30,
            checked=0,  # a check takes three times as long as all else
        ),
        "cifar10": dataclasses.replace(
            PAPER_SCALE,
            workload="cifar10",
            metric="train_error",
            num_steps=7_810,  # ten epochs
            learning_rates=(1e-4, 1e-2),
            vectorize=16,
        ),
        "wikitext103": dataclasses.replace(
            PAPER_SCALE,
            workload="wikitext103",
            optimizer="adamw",
            weight_decay=0.1,
            evaluations=4,
            batch_size=32,
            num_steps=4_000,  # 33 million tokens, a quarter of an epoch
            learning_rates=(3e-4, 3e-2),
            precision="bfloat16",
            vectorize=8,
        ),
    }
)
QUICK: Mapping[str, Any] = MappingProxyType(
    {
        "families": ("cosine", "constant", "sqrt", "rex", "two_point_spline", "smooth_nonmonotonic"),
        "strategy": CURVES,
        "runs": 600,
    }
)
