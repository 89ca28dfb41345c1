"""From one trunk, which cooldown is best at each horizon, and what does a branch cost against a whole run?

Form and length are searched through branches, whose runs share a trunk at every learning rate; what wins is
confirmed with fresh seeds, beside schedules made for one horizon and beside ways to do without a horizon.
"""

from experiments.cooldown.config import Config
from experiments.cooldown.findings import present
from experiments.cooldown.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="cooldown",
    question=QUESTIONS["cooldown"],
    presets={"digits": Config()},
    conclude=conclude,
    present=present,
    small={
        "cooldown": "--workload linear_regression --workload-options dimension 8 --optimizer sgd"
        " --batch-size 4 --horizons 5 10 20 --warmup 1 --forms linear --lengths 0.4 --searched 5"
        " --learning-rates 0.2 0.4 0.8 --average-decays 0.5 --schedule-free-betas 0.5 --screen-replicates 2"
        " --confirm-replicates 5 --confidence 0.9"
    },
)
