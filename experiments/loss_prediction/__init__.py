"""Does a law fitted on the loss curves of a few runs rank unseen schedules, and propose a good one?

The multi-power law is fitted on six runs; then many shapes that it has not seen are trained, at equal sums of
learning rates and at any.
"""

from experiments.loss_prediction.config import PRESETS
from experiments.loss_prediction.findings import present
from experiments.loss_prediction.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="loss_prediction",
    question=QUESTIONS["loss_prediction"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    saved=True,
    small={
        "loss_prediction": "--workload linear_regression --workload-options dimension 8 --batch-size 4"
        " --num-steps 24 --largest-rate 1 --smallest-share 0.3 --curve-points 6 --fit-replicates 6"
        " --families rex wsd --shapes 6 --choose-replicates 4 --score-replicates 4 --best-fraction 0.4"
        " --confirm-replicates 5"
    },
)
