"""Do flat minima and invariant losses make a network that knows what it knows?

The focal loss is tuned at several γ, and its sharpness held against its calibration, on images like those
trained on and on shifted ones; losses over environments are held against their calibration in each, on digits
whose colour tells less and less of the label.
"""

from experiments.focal.config import Config
from experiments.focal.findings import present
from experiments.focal.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="focal",
    question=QUESTIONS["focal"],
    presets={"digits": Config()},
    conclude=conclude,
    present=present,
    small={
        "focal": "--gammas 2 --methods group_dro --weights 10 --flips 0.9 --hidden 4 --num-steps 16"
        " --first-rates 3 --more-rates 0 --confirm-replicates 6 --probes 2"
    },
)
