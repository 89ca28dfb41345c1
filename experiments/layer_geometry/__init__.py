"""Which descent geometry suits which layer, and when?

Measures, layer by layer along training, what the criteria of several papers look at, and lets the spec–sign
index choose between sign and spectral descent, against either alone.
"""

from experiments.layer_geometry.config import PRESETS
from experiments.layer_geometry.findings import present
from experiments.layer_geometry.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="layer_geometry",
    question=QUESTIONS["layer_geometry"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    small={
        "layer_geometry": "--workload-options model mlp width 8 --num-steps 32 --batch-size 32"
        " --parts 4 --probe-every 4 --curvature-batches 2 --replicates 2 --index-every 4 --first-rates 3"
        " --more-rates 1 --decays 0 --screen-replicates 1 --confirm-replicates 3"
    },
)
