"""The studies by name: `steepest STUDY …`, or `python -m experiments STUDY …`; without a name, the list."""

import importlib
import sys
from collections.abc import Sequence

from experiments.study.choices import choice_problem

STUDIES = {
    "shape_search": "which learning-rate shape is near-optimal for a workload",
    "optimal_schedule": "how far schedule families are from the best schedule there is for a known loss",
    "loss_prediction": "whether a law fitted on a few loss curves ranks unseen shapes and proposes good ones",
    "search_efficiency": "how many runs each strategy needs to find a near-optimal shape",
    "optimizer_comparison": "which optimizer trains best at equal tuning budget, in steps and in seconds",
    "critical_batch_size": "how large a batch pays for each optimizer, and whether the noise scale tells it",
    "adaptive_batch_size": "whether a batch that grows with the noise of its own geometry saves steps",
    "layer_geometry": "which descent geometry suits which layer, and whether measuring it pays",
    "path_geometry": "how gradients lie to the end of training, and whether the step this prescribes pays",
    "generalization": "whether the information criterion predicts the gap, and whether pruning by it pays",
    "endurance": "whether studies last: through kills, through many runs, at what cost, on how many devices",
    "throughput": "how fast runs, recursions and schedules are here, as ratios in one run",
    "doctor": "whether this machine can run studies: packages, devices, data, room, a self-check",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study named first with the arguments behind it; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: steepest STUDY [options]      (steepest STUDY --help explains them)\n")
        print("\n".join(f"  {name:<20} {question}" for name, question in STUDIES.items()))
        return 0
    problem = choice_problem("study", arguments[0], STUDIES)
    if problem:
        print(f"error: {problem}")
        return 2
    return importlib.import_module(f"experiments.{arguments[0]}").main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
