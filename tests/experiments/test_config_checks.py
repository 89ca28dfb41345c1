"""Every field of every config has bounds, and so has what several of them make together."""

import dataclasses
import io
import sys
from typing import Literal, get_args, get_origin

import pytest

from experiments import critical_batch_size, generalization, optimal_schedule, shape_search
from experiments.generalization.config import trials
from experiments.optimal_schedule.runs import all_trials
from experiments.search_efficiency.config import Landscape
from experiments.studies import QUESTIONS, load
from experiments.study.options.errors import StudyError
from experiments.study.running.processes import Cluster
from experiments.study.running.setup import checked
from tests.experiments.typed_words import bare, hints_of

pytestmark = pytest.mark.usefixtures("loaded")

ABSURD = {
    int: (-(10**12), 10**12, 2.5, "3"),
    float: (float("nan"), float("inf"), -float("inf"), 1e300, "0.5"),
}
WITH_WORKLOAD = {"workload", "workload_options", "metric"}  # are asked of the workload
CONFIGS = {f"{study} {name}": config for study in QUESTIONS for name, config in load(study).presets.items()}


def problems(config, **changes):
    with pytest.raises(StudyError) as error:
        dataclasses.replace(config, **changes)
    return str(error.value).splitlines()


def typed(config, **changes):
    """The config with these values, as from a command line."""
    return checked(type(config), {**vars(config), **changes}, Cluster(), None)


def element(hint):
    """What a field, or each entry of its tuple, is."""
    hint = bare(hint)
    inner = get_args(hint)[0] if get_args(hint) and get_origin(hint) is not Literal else None
    return hint if inner is None or get_origin(hint) is dict else element(inner)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_field_takes_what_means_nothing(name):
    config = CONFIGS[name]
    for field, hint in hints_of(config).items():
        kind, several = element(hint), isinstance(getattr(config, field), tuple)
        if field in WITH_WORKLOAD or get_origin(kind) is dict or kind is tuple:  # of anything
            continue
        for value in ABSURD.get(kind, ("nonesuch", 3)):
            given = (value,) if several else value
            assert field in {line.split(":")[0] for line in problems(config, **{field: given})}, (
                field,
                value,
            )


@pytest.mark.parametrize("name", CONFIGS)
def test_all_fields_are_complained_of_at_once(name):
    config = CONFIGS[name]
    changes = {
        field: (value,) if isinstance(getattr(config, field), tuple) else value
        for field, hint in hints_of(config).items()
        for value in ABSURD.get(element(hint), ())[:1]
    }
    assert {line.split(":")[0] for line in problems(config, **changes)} == set(changes)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_as_typed_says_and_becomes_the_same(name):
    config = CONFIGS[name]
    assert typed(config) == config
    with pytest.raises(StudyError, match="seed: must be in") as error:
        typed(config, seed=-1)
    assert set(problems(config, seed=-1)) <= set(str(error.value).splitlines())


def test_the_workload_is_not_asked_about_a_field_that_is_wrong_by_itself():
    with pytest.raises(StudyError) as error:
        typed(shape_search.Config(), batch_size=0, metric="loss")
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["batch_size", "metric"]


def test_counts_that_are_sound_alone_may_make_too_much_together():
    search = shape_search.Config(strategy="trust_region", candidates=1000)
    assert problems(search, candidates=10_000_000, select_replicates=10_000_000)[0].startswith("These counts")
    assert problems(search, num_steps=10_000_000, batch_size=1000) == [
        "A run would see 10,000,000,000 examples, more than a run's 2,147,483,647."
    ]
    assert Landscape(seeds=1000).planned_runs > search.most_runs  # which are evaluations of microseconds


@pytest.mark.parametrize(
    "config",
    [
        optimal_schedule.Config(),
        optimal_schedule.Config(momentum=0.5, momenta=(0.0,), families=("rex",), start_scales=(0.1,)),
    ],
)
def test_the_planned_runs_of_best_schedules_are_those_made(config):
    assert config.planned_runs == sum(map(len, all_trials(config)))


def test_the_planned_runs_of_generalization_are_those_made():
    config = generalization.Config(widths=(3, 4), rates=4, replicates=3, halving_replicates=5)
    assert config.planned_runs == len(trials(config))


def test_a_run_to_a_target_has_room_for_its_steps():
    config = critical_batch_size.Config(batch_sizes=(8, 16, 32))
    dataclasses.replace(config, least_steps=9_999_999, max_samples=8)
    (problem,) = problems(config, least_steps=9_999_999, max_samples=16)
    assert problem.startswith("max_samples: must make runs of at most 10000000 st")


def test_a_terminal_without_greek_still_shows_what_is_wrong(monkeypatch):
    bytes_written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_written, "ascii"))
    assert shape_search.main(["--microbatches", "3", "--families", "rεx"]) == 2
    sys.stdout.flush()
    assert rb"'r\u03b5x'" in bytes_written.getvalue()
    assert rb"microbatches \xd7 data_parallel = 3" in bytes_written.getvalue()


def test_a_folder_s_name_may_be_too_long_for_a_file_system(monkeypatch, capsys):
    monkeypatch.setattr(
        "experiments.study.training.shape_runs.ShapeRunner.fitting_vectorize", lambda *arguments: 1
    )
    assert shape_search.main(["--fill-memory", "--folder", "x" * 5000]) == 2
    assert "error: x" in capsys.readouterr().out
