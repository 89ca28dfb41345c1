"""Do conjugate gradients help two players, and what is selection alone worth?

Every method is tuned with the same runs in every game and scored with fresh seeds; the spread of what was
tried says how much better a method looks that is tried in more settings than the others.
"""

from experiments.games.config import Config
from experiments.games.findings import present
from experiments.games.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="games",
    question=QUESTIONS["games"],
    presets={"games": Config()},
    conclude=conclude,
    present=present,
    small={
        "games": "--games bilinear --methods fletcher_reeves --num-steps 40 --first-rates 3"
        " --more-rates 1 --confirm-replicates 6"
    },
)
