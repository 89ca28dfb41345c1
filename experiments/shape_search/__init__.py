"""Which learning-rate shape is near-optimal for a workload?

Searches the shapes of every family, each at its own best base learning rate, and re-scores the winners with
fresh seeds.
"""

from experiments.shape_search.config import Config
from experiments.shape_search.findings import present
from experiments.shape_search.predict import PREDICT
from experiments.shape_search.presets import PRESETS, QUICK
from experiments.shape_search.runs import Results, conclude, with_widest_vectorize
from experiments.studies import QUESTIONS
from experiments.study.study import Study

__all__ = ["STUDY", "Config", "Results", "main"]

STUDY = Study(
    name="shape_search",
    question=QUESTIONS["shape_search"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    saved=True,
    checkpoint_steps={"cifar10": 500, "wikitext103": 500},
    quick=QUICK,
    fill=with_widest_vectorize,
    questions={"predict": PREDICT},
    small={
        "shape_search": "--strategy trust_region --workload linear_regression --workload-options dimension 8"
        " --optimizer sgd --batch-size 4 --num-steps 20 --learning-rates 0.1 4 --families constant"
        " --candidates 16 --batch 4 --rung-replicates 2 4 --rung-horizons 0.5 1 --top 2"
        " --select-replicates 8 --confirm-replicates 16 --checked 1 --local-replicates 2"
        " --check-replicates 8 --chunk-runs 32",
        "shape_search_curves": "--workload linear_regression --workload-options dimension 8 --optimizer sgd"
        " --batch-size 4 --num-steps 20 --learning-rates 0.1 4 --families rex --runs 160",
        "shape_search_checkpointed": "--strategy trust_region --families constant --num-steps 400"
        " --learning-rates 0.005 0.02 --candidates 4 --rung-replicates 1 --top 1 --select-replicates 2"
        " --confirm-replicates 4 --checked 0 --checkpoint-steps 50 --checkpoint-seconds 0",
    },
)

main = STUDY.main
