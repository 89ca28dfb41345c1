"""Studies by name: what the options of the command line start from."""

from collections.abc import Mapping
from types import MappingProxyType

from experiments.search_efficiency.all_shapes.config import AllShapes, contest
from experiments.search_efficiency.config import Config, Landscape, Training

PRESETS: Mapping[str, Config | AllShapes] = MappingProxyType(
    {
        "landscape": Landscape(),
        "digits": Training(),
        "all_shapes": AllShapes(),
        # two that nothing here was tuned on
        "all_shapes_cnn": AllShapes(
            workload_options={"model": "cnn"},
            optimizer="adamw",
            weight_decay=0.01,
            contestants=contest(10, 10),
            known_runs=7_000,
        ),
        "all_shapes_transformer": AllShapes(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 2, "heads": 2, "context": 32},
            metric="test_loss",
            optimizer="adamw",
            batch_size=16,
            learning_rates=(0.001, 0.1),
            contestants={"curves/all": 4, "tpe/all": 4, "tpe/wsd": 4, "random/wsd": 4},
            fresh_replicates=60,
            truth_replicates=200,
            known_runs=2_000,
        ),
    }
)
