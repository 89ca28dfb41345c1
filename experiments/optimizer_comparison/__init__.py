"""Which optimizer trains a workload best at equal tuning budget, in steps and in seconds?

Every optimizer gets the same number of runs over learning rates and decays, and is re-scored at its best
with fresh seeds.
"""

from experiments.optimizer_comparison.config import PRESETS, Config
from experiments.optimizer_comparison.findings import present
from experiments.optimizer_comparison.runs import Results, conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

__all__ = ["STUDY", "Config", "Results", "main"]

STUDY = Study(
    name="optimizer_comparison",
    question=QUESTIONS["optimizer_comparison"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    saved=True,
    small={
        "optimizer_comparison": "--workload-options model mlp --optimizers muon --num-steps 40"
        " --batch-size 32 --first-rates 3 --more-rates 1 --decays 0 0.01 --screen-replicates 2"
        " --confirm-replicates 4 --curve-points 3"
    },
)

main = STUDY.main
