"""Beyond which batch size do samples no longer buy steps, and what predicts it?

Steps to a target are measured for every optimizer at every batch size, each with its own best learning rate;
laws are fitted to them, and the critical batch size is held against the noise scales of the same runs.
"""

from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.findings import present
from experiments.critical_batch_size.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="critical_batch_size",
    question=QUESTIONS["critical_batch_size"],
    presets={"digits": Config()},
    conclude=conclude,
    present=present,
    small={
        "critical_batch_size": "--workload linear_regression --workload-options dimension 16 --target 0.06"
        " --optimizers momentum --momenta 0.5 --momentum-optimizers momentum --decays 0.25"
        " --decay-optimizers momentum --batch-sizes 2 4 8 --least-steps 20 --max-samples 80"
        " --evaluation-ratio 1.3 --first-rates 3 --more-rates 1 --screen-replicates 1 --confirm-replicates 3"
        " --noise-points 4 --noise-batch 16 --noise-parts 4"
    },
)
