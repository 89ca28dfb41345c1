"""The studies by name: `steepest STUDY …`, or `python -m experiments STUDY …`; without a name, the list."""

import importlib
import sys
from collections.abc import Sequence

from experiments.study.choices import choice_problem
from experiments.study.entry import ended, jax_problem

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
    words = sys.argv[1:] if arguments is None else list(arguments)
    return ended(lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print("usage: steepest STUDY [options]      (steepest STUDY --help explains them)\n")
        print("\n".join(f"  {name:<20} {question}" for name, question in STUDIES.items()))
        return 0
    name, *options = words
    problem = choice_problem("study", name, STUDIES) or (name != "doctor" and jax_problem())
    if not problem:
        try:
            return importlib.import_module(f"experiments.{name}").main(options)
        except ModuleNotFoundError as error:
            problem = f"{error}: `steepest doctor` tells what is missing."
    print(f"error: {problem}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
