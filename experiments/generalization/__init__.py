"""Does Takeuchi's information criterion predict the generalisation gap, and does pruning by it pay?

Small networks are trained on subsets of the digits. The criterion's predictions are ranked against the gaps
between test and training loss, beside simple rivals, and successive halving is replayed with each criterion
on the same runs.
"""

from experiments.generalization.config import PRESETS, Config
from experiments.generalization.findings import present
from experiments.generalization.runs import Results, conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

__all__ = ["STUDY", "Config", "Results", "main"]

STUDY = Study(
    name="generalization",
    question=QUESTIONS["generalization"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    small={
        "generalization": "--widths 3 --optimizers sgd --rates 3 --train-sizes 32 64 --replicates 2"
        " --halving-size 32 --halving-replicates 3 --validation-size 40 --num-steps 64 --batch-size 16"
        " --damping 0.01"
    },
)

main = STUDY.main
