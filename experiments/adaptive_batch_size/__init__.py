"""Does a batch that grows with the noise of its own geometry save steps, as arXiv:2602.03001 says?

Every optimizer trains with a constant small batch, a constant large one, and two that grow: with the
Euclidean noise scale and with that of its own geometry; all on equally many examples.
"""

from experiments.adaptive_batch_size.config import PRESETS
from experiments.adaptive_batch_size.findings import present
from experiments.adaptive_batch_size.runs import conclude
from experiments.studies import QUESTIONS
from experiments.study.study import Study

STUDY = Study(
    name="adaptive_batch_size",
    question=QUESTIONS["adaptive_batch_size"],
    presets=PRESETS,
    conclude=conclude,
    present=present,
    saved=True,
    small={
        "adaptive_batch_size": "--workload linear_regression --workload-options dimension 64"
        " --metric train_loss --optimizers signum --small-batch 8 --large-batch 32 --parts 2 --samples 1536"
        " --curve-points 3 --measure-every 2 --first-rates 3 --more-rates 1 --screen-replicates 2"
        " --confirm-replicates 4 --timing-repeats 2"
    },
)
