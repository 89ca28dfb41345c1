"""How long after fitting does a network generalise, and what shortens it?

Modular addition is learnt from two fifths of its pairs with several remedies for a network that fits and does
not generalise, under several optimizers, each at the learning rate at which it generalises first.
"""

from experiments.grokking.config import Config
from experiments.grokking.findings import present
from experiments.grokking.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="grokking",
    question=QUESTIONS["grokking"],
    presets={"grokking": Config()},
    conclude=conclude,
    present=present,
    float64=True,
    small={
        "grokking": "--modulus 7 --width 8 --optimizers adamw --remedies none decay --num-steps 60"
        " --curve-points 6 --first-rates 3 --more-rates 1 --screen-replicates 1 --confirm-replicates 6"
    },
)
