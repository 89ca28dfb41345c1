"""Does Takeuchi's information criterion predict the generalisation gap, and does pruning by it pay?

Small networks are trained on subsets of the digits. The criterion's predictions are ranked against the gaps
between test and training loss, beside simple rivals, and successive halving is replayed with each criterion
on the same runs. `all_measures` asks of every measure of generalisation how it ranks networks that share a
training loss; see `experiments.generalization.all_measures`.
"""

from experiments.generalization.all_measures.config import AllMeasures
from experiments.generalization.config import Config
from experiments.generalization.findings import present
from experiments.generalization.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="generalization",
    question=QUESTIONS["generalization"],
    presets={"digits": Config(), "all_measures": AllMeasures()},
    conclude=conclude,
    present=present,
    small={
        "generalization": "--widths 3 --optimizers sgd --rates 3 --train-sizes 32 64 --replicates 2"
        " --halving-size 32 --halving-replicates 3 --validation-size 40 --num-steps 64 --batch-size 16"
        " --damping 0.01",
        "generalization_all_measures": "all_measures --widths 4 --depths 1 --rates 3 --decays 0 0.001"
        " --replicates 3 --train-size 16 --batch-sizes 8 --target-loss 1 --most-steps 200 --check-every 20"
        " --families margins confidence",
    },
)
