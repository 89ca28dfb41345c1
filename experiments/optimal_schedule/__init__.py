"""How far is every family's best shape from the best schedule there is, where the loss is known exactly?

For linear regression, the best open-loop schedule is found by gradients through the exact loss of a few
kernels and certified on fresh ones, beside the best member of every family, its projection on the best found,
and what the mean field would have chosen.
"""

from experiments.optimal_schedule.config import Config
from experiments.optimal_schedule.findings import present
from experiments.optimal_schedule.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="optimal_schedule",
    question=QUESTIONS["optimal_schedule"],
    presets={"linear_regression": Config()},
    conclude=conclude,
    present=present,
    float64=True,
    small={
        "optimal_schedule": "--dimension 6 --batch-size 2 --num-steps 16 --exponents --batch-sizes --horizons"
        " --momenta 0.5 --families rex --training-kernels 3 --fresh-kernels 12 --start-scales 0.3"
        " --perturbed-starts 1 --evaluations 150 --family-starts 4 --family-evaluations 60"
    },
)
