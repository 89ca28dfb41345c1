"""The command line: the list of studies, help for every option, defaults that give way to what is typed."""

import dataclasses
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import experiments.__main__ as studies
from experiments.shape_search import Config, main
from experiments.shape_search.presets import PRESETS, QUICK
from experiments.studies import COMMANDS, QUESTIONS, load
from experiments.study.options.errors import StudyError
from experiments.study.study import Study

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_study_the_studies_are_listed(arguments, capsys):
    assert studies.main(arguments) == 0
    output = capsys.readouterr().out
    assert "shape_search" in output
    assert all(f"  {name} " in output and text in output for name, text in (QUESTIONS | COMMANDS).items())


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_listed_study_is_a_package_of_its_name(name):
    study = load(name)
    assert (study.name, study.question) == (name, QUESTIONS[name])


def test_an_unknown_study_names_the_nearest(capsys):
    assert studies.main(["shape_serch", "--quick"]) == 2
    assert "did you mean 'shape_search'" in capsys.readouterr().out


def test_the_module_and_the_installed_command_are_the_same():
    process = subprocess.run(
        [sys.executable, "-m", "experiments", "shape-search"], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 2
    assert "did you mean 'shape_search'" in process.stdout
    (installed,) = entry_points(group="console_scripts", name="steepest")
    assert installed.load() is studies.main


def test_beside_a_package_of_the_same_name_the_command_says_so_and_runs_its_own(tmp_path):
    other = tmp_path / "experiments"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('the other one ran')")
    process = installed_command(tmp_path)
    assert process.returncode == 0
    assert "shape_search" in process.stdout
    told = f"steepest: runs {ROOT / 'experiments'}, not {other}, which `python -m` would take here.\n"
    assert process.stderr == told


def test_where_no_other_is_the_command_says_nothing_of_it(tmp_path):
    for folder in (tmp_path, ROOT):
        process = installed_command(folder)
        assert (process.returncode, process.stderr) == (0, "")
        assert "shape_search" in process.stdout


def installed_command(folder):
    """As the script that pip writes begins it, which has not the current folder on its path."""
    program = "import sys; sys.path.pop(0); from experiments.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_study_gets_the_arguments_behind_its_name(tmp_path, capsys):
    assert studies.main(["shape_search", "report", str(tmp_path / "nowhere")]) == 2
    assert "nowhere holds no study" in capsys.readouterr().out
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def asked(monkeypatch):
    """What the command line asks for, in place of running it."""
    calls = []

    def record(study, config, folder, **options):
        calls.append((config, folder, options))
        raise StudyError("recorded")

    monkeypatch.setattr(Study, "run", record)

    def ask(*arguments):
        assert main(list(arguments)) == 2
        return calls.pop()

    return ask


def changed_fields(found, reference):
    return {
        field.name
        for field in dataclasses.fields(found)
        if getattr(found, field.name) != getattr(reference, field.name)
    }


def test_defaults_are_the_config_s(asked):
    found, folder, options = asked()
    assert changed_fields(found, Config()) == set()
    assert folder == Path("runs/shape_search_digits")
    assert (options["devices"], options["chunk_runs"]) == (None, None)


def test_quick_is_a_smaller_search_in_its_own_folder(asked):
    found, folder, _ = asked("--quick")
    assert changed_fields(found, Config(**QUICK)) == set()
    assert folder == Path("runs/shape_search_digits_quick")
    assert found.planned_runs < Config().planned_runs / 10
    assert (found.workload, found.num_steps, found.metric) == ("digits", 100, "train_loss")


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_typed_wins_over_quick(asked, order):
    words = [["--quick"], ["--candidates", "5"], ["--families", "rex", "linear"], ["--folder", "here"]]
    found, folder, _ = asked(*(word for option in words[::order] for word in option))
    assert (found.candidates, found.families, folder) == (5, ("rex", "linear"), Path("here"))
    assert changed_fields(found, Config(**QUICK)) == {"candidates", "families"}


def test_every_option_reaches_the_config(asked):
    words = """--workload linear_regression --workload-options dimension 8 exponent 0.5 --optimizer lion
        --weight-decay 0.1 --batch-size 3 --num-steps 7 --learning-rates 1e-3 2e-3 --b1 0.8
        --decay-mode independent --seed 9 --strategy random --confidence 0.9 --vectorize 2
        --warmup-form cosine --decay-form 1-sqrt --rung-replicates 2 4 --rung-horizons 0.25 1
        --keep-fraction 0.25 --devices 2 --chunk-runs 11"""
    found, _, options = asked(*words.split())
    assert found.workload_options == {"dimension": 8, "exponent": 0.5}
    assert (found.optimizer, found.weight_decay, found.batch_size, found.num_steps) == ("lion", 0.1, 3, 7)
    assert (found.learning_rates, found.seed, found.strategy) == ((1e-3, 2e-3), 9, "random")
    assert (found.confidence, found.vectorize) == (0.9, 2)
    assert (found.betas, found.decay_mode) == ({"b1": 0.8}, "independent")
    assert [(rung.replicates, rung.num_steps) for rung in found.race.rungs] == [(2, 2), (4, 7)]
    assert found.race.keep_fraction == 0.25
    assert {family.options.get("warmup_form", "cosine") for family in found.searched} == {"cosine"}
    assert (options["devices"], options["chunk_runs"]) == (2, 11)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_searches_of_their_workload_that_options_change(asked, name):
    config, folder, _ = asked(name, "--confirm-replicates", "7")
    assert config.workload == name
    assert config.confirm_replicates == 7
    assert folder.name == f"shape_search_{name}"
    quick, quick_folder, _ = asked(name, "--quick")
    assert quick_folder.name == f"shape_search_{name}_quick"
    assert (quick.workload, quick.num_steps) == (name, config.num_steps)
    assert (quick.strategy, quick.runs, len(quick.families)) == ("curves", 600, 6)


def test_a_search_of_two_families_adds_both_baselines():
    searched = [family.name for family in Config(families=("rex", "constant")).searched]
    assert searched == ["rex", "constant", "cosine"]


def test_planned_runs_are_screening_selection_and_confirmation(tiny_config):
    chosen = {"candidates": 5, "top": 8, "select_replicates": 7, "confirm_replicates": 11}
    planned = tiny_config(families=("rex",), **chosen).planned_runs
    assert planned == 3 * (5 * (2 + 3) + 5 * 7 + 11)  # two runs of ten steps and three of twenty


def test_rungs_of_one_horizon_share_their_runs(tiny_config):
    rungs = {"rung_replicates": (1, 2, 2, 5), "rung_horizons": (0.5, 0.5, 1.0, 1.0)}
    chosen = {"candidates": 7, "top": 1, "select_replicates": 1, "confirm_replicates": 1}
    assert tiny_config(families=("rex",), **rungs, **chosen).planned_runs == 3 * (7 * (2 + 5) + 1 + 1)


@pytest.mark.parametrize(("flags", "expected"), [("", None), ("--xla_force_host_platform_device_count=3", 3)])
def test_a_cpu_is_one_device_per_core_unless_chosen_otherwise(flags, expected):
    code = (
        "import jax; from experiments.study.running.devices import one_device_per_core as f;"
        " f(); f(); print(len(jax.devices()))"
    )
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert int(found.stdout) == (expected or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("chosen", "expected"), [(None, "cache/steepest/compiled"), ("mine", "mine")])
def test_programs_are_kept_in_the_cache_folder_unless_chosen_otherwise(tmp_path, chosen, expected):
    code = (
        "import jax; from experiments.study.running.devices import keep_compiled_programs as keep; keep();"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0);"
        "jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1);"
        "jax.jit(lambda x: x * 3 + 1)(2.0).block_until_ready()"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}
    del environment["JAX_COMPILATION_CACHE_DIR"]  # which the tests chose
    if chosen:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / chosen)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    assert [path.parent for path in tmp_path.rglob("*lambda*cache")] == [tmp_path / expected]
