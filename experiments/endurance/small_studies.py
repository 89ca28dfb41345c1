"""Every study, so small that it takes seconds, in enough chunks that a kill falls between two of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from experiments.study.options.checks import EACH_ONCE, entries


class SmallStudy(NamedTuple):
    """A study's package, the words of its command line, and what of its winners.json was timed."""

    package: str
    words: tuple[str, ...]
    timed_fields: frozenset[str] = frozenset()


def small_study(package: str, words: str, timed_fields: str = "") -> SmallStudy:
    """A study from its words and timed fields, each in one text."""
    return SmallStudy(package, tuple(words.split()), frozenset(timed_fields.split()))


REGRESSION = "--workload linear_regression --workload-options dimension 64"

STUDIES: Mapping[str, SmallStudy] = MappingProxyType(
    {
        "shape_search": small_study(
            "shape_search",
            f"{REGRESSION} --optimizer sgd --batch-size 4 --num-steps 1000 --learning-rates 0.1 4"
            " --families constant --candidates 16 --batch 4 --rung-replicates 2 4 --rung-horizons 0.5 1"
            " --top 2 --select-replicates 8 --confirm-replicates 16 --checked 1 --local-replicates 2"
            " --check-replicates 8 --chunk-runs 32",
        ),
        "shape_search_checkpointed": small_study(
            "shape_search",
            "--families constant --num-steps 400 --learning-rates 0.005 0.02 --candidates 4"
            " --rung-replicates 1 --top 1 --select-replicates 2 --confirm-replicates 4 --checked 0"
            " --checkpoint-steps 50 --checkpoint-seconds 0",
        ),
        "shape_search_vary": small_study(
            "shape_search",
            f"--vary num_steps --values 1000 2000 {REGRESSION} --optimizer sgd --batch-size 2"
            " --learning-rates 0.25 4 --families cosine --candidates 8 --rung-replicates 4 --top 2"
            " --select-replicates 8 --confirm-replicates 16 --checked 0 --chunk-runs 32",
        ),
        "optimal_schedule": small_study(
            "optimal_schedule",
            "--dimension 6 --batch-size 2 --num-steps 16 --exponents --batch-sizes --horizons --momenta 0.5"
            " --families rex --training-kernels 3 --fresh-kernels 12 --start-scales 0.3"
            " --perturbed-starts 1 --evaluations 150 --family-starts 4 --family-evaluations 60",
        ),
        "loss_prediction": small_study(
            "loss_prediction",
            f"{REGRESSION} --batch-size 4 --num-steps 2000 --largest-rate 1 --smallest-share 0.3"
            " --curve-points 6 --fit-replicates 6 --families rex wsd --shapes 6 --choose-replicates 8"
            " --score-replicates 8 --best-fraction 0.4 --confirm-replicates 12",
        ),
        "search_efficiency_landscape": small_study(
            "search_efficiency",
            "landscape --families two_point_spline --seeds 3 --num-steps 20 --batch-size 4 --dimension 8"
            " --learning-rates 0.25 4 --polished 2 --tolerance 0.9"
            " --budgets trust_region 24 random 256",
        ),
        "search_efficiency_digits": small_study(
            "search_efficiency",
            f"digits {REGRESSION} --families two_point_spline --seeds 2 --num-steps 1000 --batch-size 4"
            " --learning-rates 0.25 4 --optimizer sgd --fresh-replicates 9 --confirm-replicates 5"
            " --truth-replicates 11 --finalists 3"
            " --budgets trust_region 30 trust_region+seeds 20 trust_region+horizon 20 random 60",
        ),
        "optimizer_comparison": small_study(
            "optimizer_comparison",
            "--workload-options model mlp --optimizers muon signum --num-steps 40 --batch-size 32"
            " --first-rates 3 --more-rates 1 --decays 0 0.01 --screen-replicates 2 --confirm-replicates 4"
            " --curve-points 3",
            timed_fields="step_seconds relative_step time_needed",
        ),
        "critical_batch_size": small_study(
            "critical_batch_size",
            "--workload linear_regression --workload-options dimension 16 --target 0.06 --optimizers momentum"
            " --momenta 0.5 --momentum-optimizers momentum --decays 0.25 --decay-optimizers momentum"
            " --batch-sizes 2 4 8 --least-steps 20 --max-samples 4000 --evaluation-ratio 1.3 --first-rates 3"
            " --more-rates 1 --screen-replicates 2 --confirm-replicates 3 --noise-points 4 --noise-batch 16"
            " --noise-parts 4",
        ),
        "adaptive_batch_size": small_study(
            "adaptive_batch_size",
            "--workload linear_regression --workload-options dimension 64 --metric train_loss --optimizers"
            " signum --small-batch 8 --large-batch 32 --parts 2 --samples 1536 --curve-points 3"
            " --measure-every 2 --first-rates 3 --more-rates 1 --screen-replicates 2 --confirm-replicates 4"
            " --timing-repeats 2",
            timed_fields="run_seconds saved_time measuring",
        ),
        "layer_geometry": small_study(
            "layer_geometry",
            "--workload-options model mlp --num-steps 32 --batch-size 32 --parts 4 --probe-every 4"
            " --curvature-batches 2 --replicates 2 --index-every 4 --first-rates 3 --more-rates 1 --decays 0"
            " --screen-replicates 1 --confirm-replicates 3",
        ),
        "path_geometry": small_study(
            "path_geometry",
            "--optimizers sgd --learning-rates 0.25 --batch-sizes 8 32 --num-steps 48 --probe-every 1"
            " --replicates 3 --families cosine --base-learning-rates 0.1 1 --candidates 5"
            " --screen-replicates 2 --top 2 --select-replicates 3 --confirm-replicates 5",
        ),
        "generalization": small_study(
            "generalization",
            "--widths 3 --optimizers sgd --rates 3 --train-sizes 32 64 --replicates 2 --halving-size 32"
            " --halving-replicates 3 --validation-size 40 --num-steps 64 --batch-size 16 --damping 0.01",
        ),
    }
)
Studies = Annotated[tuple[Literal[tuple(STUDIES)], ...], entries(1), EACH_ONCE]
