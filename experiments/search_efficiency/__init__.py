"""How many runs does each strategy need to find a near-optimal shape?

Every strategy searches many times from other seeds, on a landscape without noise (`landscape`) or with real
training runs (`digits`), and each search is judged by when it first knew a shape within a tolerance of the
best one known. `all_shapes` asks what a hundred runs are worth, of searches among all shapes; see
`experiments.search_efficiency.all_shapes`.
"""

from experiments.search_efficiency.all_shapes.config import AllShapes, contest
from experiments.search_efficiency.config import Landscape, Training
from experiments.search_efficiency.findings import present
from experiments.search_efficiency.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="search_efficiency",
    question=QUESTIONS["search_efficiency"],
    presets={
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
    },
    conclude=conclude,
    present=present,
    small={
        "search_efficiency_landscape": "landscape --families two_point_spline --seeds 3 --num-steps 20"
        " --batch-size 4 --dimension 8 --learning-rates 0.25 4 --polished 2 --tolerance 0.9"
        " --budgets trust_region 24 random 256",
        "search_efficiency_digits": "digits --workload linear_regression --workload-options dimension 64"
        " --families two_point_spline --seeds 2 --num-steps 1000 --batch-size 4 --learning-rates 0.25 4"
        " --optimizer sgd --fresh-replicates 9 --confirm-replicates 5 --truth-replicates 11 --finalists 3"
        " --budgets trust_region 30 trust_region+seeds 20 trust_region+horizon 20 random 60",
        "search_efficiency_all_shapes": "all_shapes --workload linear_regression"
        " --workload-options dimension 8 --families linear rex two_point_linear --num-steps 20"
        " --batch-size 4 --learning-rates 0.1 4"
        " --optimizer sgd --contestants curves/all 2 trust_region/rex 2 random/rex 2 --checkpoints 16 24"
        " --known-runs 24 --fresh-replicates 5 --truth-replicates 7 --finalists 2",
    },
)
