"""Which optimizer and which shape of the learning rate also serve on data that moved?

Everything is tuned alike and chosen by validation images like those trained on; then it is tested on images
that are turned, blurred, noisy or covered, and on digits whose colour misleads.
"""

from experiments.shift.config import Config
from experiments.shift.findings import present
from experiments.shift.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="shift",
    question=QUESTIONS["shift"],
    presets={"digits": Config()},
    conclude=conclude,
    present=present,
    small={
        "shift": "--tasks coloured --optimizers momentum adamw --hidden 4 --num-steps 20 --first-rates 3"
        " --more-rates 1 --decays 0 --confirm-replicates 3"
    },
)
