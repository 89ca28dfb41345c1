"""Do the shape and the learning rate found in short and small runs serve long and large ones?

The best rate of every shape is found at all sizes that differ from a central one in one number, fitted by a
law, and predicted at the largest size of all.
"""

from experiments.studies import QUESTIONS
from experiments.study.study import Study
from experiments.transfer.config import PRESETS
from experiments.transfer.findings import present
from experiments.transfer.runs import conclude

STUDY = Study(
    name="transfer",
    question=QUESTIONS["transfer"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    small={
        "transfer": "--workload linear_regression --workload-options dimension 8 --families constant linear"
        " --optimizer sgd --centre 2 --horizons 5 10 20 40 --batch-sizes 4 --widths --first-rates 3"
        " --more-rates 1 --screen-replicates 2 --confirm-replicates 5 --confidence 0.9"
    },
)
