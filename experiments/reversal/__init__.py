"""How often does the order of two shapes reverse where the peak learning rate is not retuned?

Every shape's rate is tuned; then all are trained at all the best rates. Two shapes are compared each at its
own best, and both at the best of one of them.
"""

from experiments.reversal.config import PRESETS
from experiments.reversal.findings import present
from experiments.reversal.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="reversal",
    question=QUESTIONS["reversal"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    small={
        "reversal": "--workload linear_regression --workload-options dimension 8 --families constant linear"
        " inverse_sqrt --optimizers sgd --centres 2 --batch-size 4 --num-steps 20 --first-rates 3"
        " --more-rates 3 --screen-replicates 2 --confirm-replicates 5 --confidence 0.9"
    },
)
