"""The studies by name, and the other commands."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "shape_search": "Which learning-rate shape is near-optimal?",
        "shape_dependence": "What does the best shape depend on, and what does another setting's shape cost?",
        "reversal": "How often does the order of two shapes reverse where the peak rate is not retuned?",
        "optimal_schedule": "How far are schedule families from the best schedule?",
        "cooldown": "From one trunk, which cooldown is best at each horizon, and what does it save?",
        "transfer": "Do the shape and the learning rate found in small runs serve large ones?",
        "loss_prediction": "Does a law fitted on a few loss curves predict unseen schedules?",
        "search_efficiency": "How many runs does a search need to find a near-optimal shape?",
        "optimizer_comparison": "Which optimizer, at equal tuning budget?",
        "critical_batch_size": "How large a batch pays, and what tells it?",
        "local_steps": "How much communication do workers need, and what do steps of their own cost?",
        "adaptive_batch_size": "Does a batch that grows with the noise save steps?",
        "layer_geometry": "Which geometry on which layer?",
        "ingredients": "What of Muon matters, and does anything tell beforehand whether it helps?",
        "path_geometry": "Does training follow the geometry of its path?",
        "flatness": "Do methods that look for flat minima find them, and do they pay with wrong labels?",
        "games": "Do conjugate gradients help two players, and what is selection alone worth?",
        "grokking": "How long after fitting does a network generalise, and what shortens it?",
        "generalization": "Does the information criterion predict the gap, and does pruning by it pay?",
        "shift": "Which optimizer and which shape also serve on data that moved?",
        "focal": "Do flat minima and invariant losses make a network that knows what it knows?",
    }
)
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "endurance": "whether studies last: through kills and many runs, at what cost, on how many devices",
        "throughput": "how fast runs, recursions and schedules are here, as ratios in one run",
        "export": "a finished study's winning schedule for a trainer, as code or as a table",
        "calibration": "whether the verdict's bound holds the truth, on simulated landscapes",
        "doctor": "whether this machine can run studies: packages, devices, data, room, a self-check",
    }
)
JOBS: Mapping[str, str] = MappingProxyType(
    {
        "jobs": "create FOLDER begins the search of a schedule for training jobs that others run",
        "ask": "FOLDER prints the next trial of such a search",
        "tell": "FOLDER ID VALUE records what came of it",
        "status": "FOLDER says what was asked for and told so far",
        "import": "FOLDER CSV lets it learn from runs that were made before",
        "add": "FOLDER lets a schedule of your own be tried",
    }
)


def load(name: str) -> Any:
    """The `Study` of that name; its package is imported now."""
    return importlib.import_module(f"experiments.{name}").STUDY
