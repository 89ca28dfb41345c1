"""Do methods that look for flat minima find them, and do they pay where labels are wrong?

The digits, some of their labels flipped, are learnt with each method at equal gradients and at equal steps,
every learning rate tuned with the same runs; error, curvature and calibration are measured at the end.
"""

from experiments.flatness.config import PRESETS
from experiments.flatness.findings import present
from experiments.flatness.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="flatness",
    question=QUESTIONS["flatness"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    small={
        "flatness": "--methods sam --flipped 0 0.4 --radii 0.1 0.3 --gradients 24 --num-steps 16 --width 3"
        " --batch-size 16 --train-size 32 --validation-size 1600 --first-rates 3 --more-rates 1"
        " --screen-replicates 1 --confirm-replicates 3"
    },
)
