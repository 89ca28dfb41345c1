"""Does the path of training look as arXiv:2306.11922 says, and does the schedule it prescribes pay?

Every run is trained to its end w* and then replayed, measuring at each probed step how the gradient lies to
w - w*.
"""

from experiments.path_geometry.config import Config
from experiments.path_geometry.findings import present
from experiments.path_geometry.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="path_geometry",
    question=QUESTIONS["path_geometry"],
    presets={"digits": Config()},
    conclude=conclude,
    present=present,
    small={
        "path_geometry": "--workload-options width 8 --optimizers sgd --learning-rates 0.25"
        " --batch-sizes 8 32 --num-steps 48 --probe-every 1 --replicates 3 --families cosine"
        " --base-learning-rates 0.1 1 --candidates 5 --screen-replicates 2 --top 2"
        " --select-replicates 3 --confirm-replicates 5"
    },
)
