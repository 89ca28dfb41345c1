"""Options that contradict one another, come twice or have no effect: each is said, none ignored silently."""

import importlib
import io

import jax
import pytest
from rich.console import Console

from experiments.critical_batch_size import Config as CriticalBatchSize
from experiments.critical_batch_size import main as critical_batch_size
from experiments.doctor import main as doctor
from experiments.endurance import main as endurance
from experiments.optimal_schedule import main as optimal_schedule
from experiments.search_efficiency import main as search_efficiency
from experiments.shape_dependence import main as shape_dependence
from experiments.shape_search import main
from experiments.study.options.errors import StudyError
from experiments.study.running.processes import Cluster
from experiments.study.running.setup import workload_of
from experiments.throughput import main as throughput
from tests.experiments.small_study import call, unwrapped
from workloads import load

pytestmark = pytest.mark.usefixtures("no_training")

CONTRADICTIONS = {
    "one option, yes and no": (main, "--quick --no-quick", "quick: typed 2 times"),
    "one option twice": (main, "--seed 1 --batch-size 64 --seed=1", "seed: typed 2 times"),
    "one option in two spellings": (main, "--num-steps 5 --num_steps 6", "num_steps: typed 2 times"),
    "one option of another command twice": (throughput, "--repeats 1 --repeats 2", "repeats: typed 2 times"),
    "one option of a subject twice": (endurance, "soak --runs 6000 --runs 7000", "runs: typed 2 times"),
    "a width that is chosen and typed": (main, "--fill-memory --vectorize 4", "fill_memory: it chooses"),
    "a folder without a name": (main, "--folder=", "a folder has a name"),
    "a report of none": (optimal_schedule, ["report", ""], "a folder has a name"),
    "a pair twice": (main, "--workload-options model mlp model cnn", "each NAME is given once"),
    "a budget twice": (
        search_efficiency,
        "--budgets trust_region 9 random 9 random 10",
        "each NAME is given once",
    ),
    "a study twice": (
        endurance,
        "placements --studies generalization generalization",
        "studies: must be named once each",
    ),
    "no study": (endurance, "interruptions --studies", "studies: must be at least one value"),
    "a confidence without a width": (main, "--confidence 1e-7", "confidence: must be at least 1e-06"),
    "a share that a float32 takes for 0": (
        search_efficiency,
        "--tolerance 1e-320",
        "tolerance: must be at least 1e-30",
    ),
    "a target that no loss reaches": (
        critical_batch_size,
        "--target -1",
        "target: no metric of digits is negative, got -1",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_contradicts_itself_is_refused_by_name(case):
    main, words, expected = CONTRADICTIONS[case]
    status, output = call(main, *(words.split() if isinstance(words, str) else words))
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


@pytest.mark.parametrize(
    ("cluster", "environment", "field"),
    [
        (Cluster("auto", num_processes=2), {}, "num_processes: with coordinator auto"),
        (Cluster("auto", process_id=7), {}, "process_id: with coordinator auto"),
        (Cluster("auto"), {"JAX_PROCESS_ID": "1"}, "process_id: with coordinator auto"),
        (Cluster(), {"JAX_NUM_PROCESSES": "2"}, "num_processes: it needs coordinator"),
        (Cluster(), {"JAX_PROCESS_ID": "0"}, "process_id: it needs coordinator"),
        (Cluster(""), {"JAX_COORDINATOR_ADDRESS": "localhost:1"}, "coordinator: must be HOST:PORT"),
    ],
)
def test_a_place_that_would_be_ignored_is_refused_by_its_field(monkeypatch, cluster, environment, field):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StudyError, match=f"^{field}"):
        cluster.join(Console(file=io.StringIO()))


def test_a_coordinator_that_a_variable_calls_auto_is_found_by_jax(monkeypatch):
    """It would take the variable for an address."""
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "auto")
    asked = []

    def initialize(address, *place, **options):
        asked.append((address, place, "JAX_COORDINATOR_ADDRESS" in importlib.import_module("os").environ))

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    Cluster().join(Console(file=io.StringIO()))
    assert asked == [(None, (None, None), False)]


WITHOUT_EFFECT = {
    "the decay of a family that is not searched": (
        main,
        "--families rex --decay-form 1-sqrt",
        ["decay_form: without effect, as no family that is searched has it."],
    ),
    "how nothing decays": (
        main,
        "--decay-mode scaled",
        ["decay_mode: without effect, as there is no weight_decay."],
    ),
    "what goes on from the only rung": (
        main,
        "--keep-fraction 0.25 --decay-form 1-sqrt",
        ["keep_fraction: without effect, as there is one rung, the last."],
    ),
    "replicates of no check": (
        main,
        "--checked 0 --local-replicates 2 --check-replicates 40",
        [
            "local_replicates: without effect, as checked is 0.",
            "check_replicates: without effect, as checked is 0.",
        ],
    ),
    "what is varied": (
        shape_dependence,
        "--vary batch_size --batch-size 8 --weight-decay 0.1 --decay-mode independent",
        ["batch_size: without effect, as batch_size is varied."],
    ),
    "momenta of nobody": (
        critical_batch_size,
        "--momenta 0.5 --momentum-optimizers",
        ["momenta: without effect, as momentum_optimizers is empty."],
    ),
    "nothing of the kind": (main, "--families wsd --decay-form 1-sqrt --checked 1 --local-replicates 2", []),
}


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
def test_what_has_no_effect_is_said_once_and_nothing_else(monkeypatch, capsys, case):
    def end(*arguments, **options):
        raise StudyError("recorded")

    main, words, expected = WITHOUT_EFFECT[case]
    monkeypatch.setattr("experiments.study.running.session._open_journal", end)
    assert main(words.split()) == 2
    assert capsys.readouterr().out.splitlines() == [*expected, "error: recorded"]
