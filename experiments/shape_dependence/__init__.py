"""Does the best shape depend on the setting, and what does another setting's shape cost?

Varies one option of the shape search: one whole search a setting, then every setting's best shape trained in
every other one with its learning rate tuned again.
"""

from experiments.shape_dependence.config import PRESETS, QUICK
from experiments.shape_dependence.findings import present
from experiments.shape_dependence.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="shape_dependence",
    question=QUESTIONS["shape_dependence"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    saved=True,
    quick=QUICK,
    small={
        "shape_dependence": "--vary num_steps --values 10 5 --workload linear_regression"
        " --workload-options dimension 8 --optimizer sgd --batch-size 2 --learning-rates 0.25 4"
        " --families cosine --candidates 4 --rung-replicates 2 --top 2 --select-replicates 3"
        " --confirm-replicates 5 --checked 0 --chunk-runs 32"
    },
)
