"""What of Muon matters, and does anything tell beforehand whether it helps?

Muon is tuned with one ingredient changed at a time: what stands in the polar factor's place, the momentum,
the scale, the leaves, the steps of the iteration. In further settings its gain over AdamW is held against
what is measured of the gradients and activations of the first batches.
"""

from experiments.ingredients.config import PRESETS, Config
from experiments.ingredients.findings import present
from experiments.ingredients.runs import Results, conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

__all__ = ["STUDY", "Config", "Results", "main"]

STUDY = Study(
    name="ingredients",
    question=QUESTIONS["ingredients"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    small={
        "ingredients": "--variants no_momentum --problem regression --depths --conditions 1 100 --ranks 1 32"
        " --batch-size 16 --num-steps 16 --measured-batches 2 --first-rates 3 --more-rates 0"
        " --screen-replicates 1 --confirm-replicates 6"
    },
)

main = STUDY.main
