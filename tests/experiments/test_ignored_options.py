"""Options that contradict one another, come twice or have no effect: each is said, none ignored silently."""

import importlib
import io

import jax
import pytest
from rich.console import Console

from experiments import studies
from experiments.critical_batch_size import Config as CriticalBatchSize
from experiments.doctor import main as doctor
from experiments.endurance import main as endurance
from experiments.shape_search import main
from experiments.study.options.errors import StudyError
from experiments.study.running.processes import Cluster
from experiments.study.running.setup import workload_of
from experiments.throughput import main as throughput
from tests.experiments.small_study import call, unwrapped
from workloads import load

critical_batch_size, search_efficiency, shape_dependence = (
    studies.load(name).main for name in ("critical_batch_size", "search_efficiency", "shape_dependence")
)
pytestmark = pytest.mark.usefixtures("no_training")

CONTRADICTIONS = [
    (main, "--quick --no-quick", "quick: typed 2 times"),
    (main, "--seed 1 --batch-size 64 --seed=1", "seed: typed 2 times"),
    (main, "--num-steps 5 --num_steps 6", "num_steps: typed 2 times"),
    (throughput, "--repeats 1 --repeats 2", "repeats: typed 2 times"),
    (endurance, "soak --runs 6000 --runs 7000", "runs: typed 2 times"),
    (main, "--fill-memory --vectorize 4", "fill_memory: it chooses"),
    (main, "--folder=", "a folder has a name"),
    (main, "--workload-options model mlp model cnn", "each NAME is given once"),
    (search_efficiency, "--budgets trust_region 9 random 9 random 10", "each NAME is given once"),
    (endurance, "placements --studies generalization generalization", "studies: must be named once each"),
    (endurance, "interruptions --studies", "studies: must be at least one value"),
    (main, "--confidence 1e-7", "confidence: must be at least 1e-06"),
    (search_efficiency, "--tolerance 1e-320", "tolerance: must be at least 1e-30"),
    (critical_batch_size, "--target -1", "target: no metric of digits is negative, got -1"),
]


@pytest.mark.parametrize(("main", "words", "expected"), CONTRADICTIONS)
def test_what_contradicts_itself_is_refused_by_name(main, words, expected):
    status, output = call(main, *words.split())
    assert status == 2
    assert expected in unwrapped(output)


@pytest.mark.parametrize("words", ["--folder=", "--folder a --folder b"])
def test_the_doctor_too_takes_one_folder_with_a_name(words):
    status, output = call(doctor, *words.split())
    assert status == 2
    assert "folder" in output


def test_the_losses_of_a_caller_s_own_workload_may_be_negative():
    """As log likelihoods are."""
    own = load("linear_regression", dimension=1024)
    config = CriticalBatchSize(target=-1, batch_sizes=(8, 16, 32))
    assert workload_of(config, own)[1] == []


def test_a_coordinator_that_a_variable_calls_auto_is_found_by_jax(monkeypatch):
    """It would take the variable for an address."""
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "auto")
    asked = []

    def initialize(address, *place, **options):
        asked.append((address, place, "JAX_COORDINATOR_ADDRESS" in importlib.import_module("os").environ))

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    Cluster().join(Console(file=io.StringIO()))
    assert asked == [(None, (None, None), False)]


WITHOUT_EFFECT = [
    (main, "--families rex --decay-form 1-sqrt", ["decay_form: no family that is searched has it"]),
    (main, "--decay-mode scaled", ["decay_mode: there is no weight_decay"]),
    (
        main,
        "--strategy sobol --keep-fraction 0.25 --decay-form 1-sqrt --runs 99",
        ["runs: sobol has a budget a family", "keep_fraction: there is one rung, the last"],
    ),
    (main, "--top 3 --runs 99", ["top: curves spends its runs as it sees fit"]),
    (
        main,
        "--strategy cmaes --checked 0 --local-replicates 2 --check-replicates 40",
        ["local_replicates: checked is 0", "check_replicates: checked is 0"],
    ),
    (
        shape_dependence,
        "--vary batch_size --batch-size 8 --weight-decay 0.1 --decay-mode independent",
        ["batch_size: batch_size is varied"],
    ),
    (critical_batch_size, "--momenta 0.5 --momentum-optimizers", ["momenta: momentum_optimizers is empty"]),
    (main, "--strategy random --families wsd --decay-form 1-sqrt --checked 1 --local-replicates 2", []),
]


@pytest.mark.parametrize(("main", "words", "expected"), WITHOUT_EFFECT)
def test_what_has_no_effect_is_said_once_and_nothing_else(monkeypatch, main, words, expected):
    def end(*arguments, **options):
        raise StudyError("recorded")

    monkeypatch.setattr("experiments.study.running.session._open_journal", end)
    lines = [line.replace(": ", ": without effect, as ") + "." for line in expected]
    status, output = call(main, *words.split())
    assert (status, output.splitlines()) == (2, [*lines, "error: recorded"])
