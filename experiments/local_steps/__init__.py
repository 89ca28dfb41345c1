"""How much communication do workers need, and what do steps of their own cost?

Every method is tuned with the same runs, for several numbers of workers, intervals and kinds of shards; its
loss is told over steps, gradient evaluations, bytes and the time that links of several speeds would take.
"""

from experiments.local_steps.config import PRESETS
from experiments.local_steps.findings import present
from experiments.local_steps.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="local_steps",
    question=QUESTIONS["local_steps"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    small={
        "local_steps": "--workload-options width 8 --methods diloco palsgd lion_cub --workers 2 --intervals 4"
        " --shards skewed --num-steps 24 --batch-size 16 --curve-points 4 --first-rates 3 --more-rates 1"
        " --screen-replicates 1 --confirm-replicates 3"
    },
)
