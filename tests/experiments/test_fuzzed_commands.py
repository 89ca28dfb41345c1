"""Whatever is typed, a study begins or says what to mend: no traceback, and nothing is compiled for it."""

import jax
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import workloads
from experiments.studies import QUESTIONS, load
from experiments.study.running import session
from experiments.study.training.shape_runs import ShapeRunner
from tests.experiments.mistakes import MISTAKES
from tests.experiments.small_study import call
from tests.experiments.typed_words import command_lines


def fuzzed(examples):
    """The same examples each time, however long they take."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


class Begun(Exception):
    """A study would have been opened: whatever was typed is taken."""


@pytest.fixture(scope="module", autouse=True)
def compiled(loaded):
    """The programs compiled so far, those that make a workload's data left out; nothing is trained."""
    programs = []

    def notice(name, seconds, **labels):
        if name.endswith("backend_compile_duration"):
            programs.append(name)

    def begin(*arguments, **options):
        raise Begun

    def load_uncounted(*arguments, load=workloads.load, **options):
        count = len(programs)
        try:
            return load(*arguments, **options)
        finally:
            del programs[count:]

    jax.monitoring.register_event_duration_secs_listener(notice)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_open_journal", begin)
        patch.setattr(jax.distributed, "initialize", begin)
        patch.setattr(workloads, "load", load_uncounted)
        patch.setattr(workloads.LongSweep, "whole", lambda *arguments: pytest.fail("a run was trained"))
        patch.setattr(ShapeRunner, "fitting_vectorize", lambda *arguments: 1)
        yield programs
    jax.monitoring.unregister_event_duration_listener(notice)


def outcome(study, words):
    """The exit status of the command line, "begun" where it would run, and what it printed."""
    try:
        return call(load(study).main, *words)
    except Begun:
        return "begun", ""


@pytest.mark.parametrize("study", QUESTIONS)
def test_any_words_begin_a_study_or_end_with_a_message(study, compiled):
    @fuzzed(20)
    @given(command_lines(study))
    def end_well(words):
        count = len(compiled)
        status, output = outcome(study, words)
        event(f"{study}: {status}")
        assert (
            status == "begun" or (status == 2 and output.strip()) or (status, "--help" in words) == (0, True)
        )
        assert "Traceback" not in output
        assert status == "begun" or len(compiled) == count

    end_well()


@pytest.mark.parametrize("study", MISTAKES)
def test_every_field_that_is_wrong_is_named_at_once(study, compiled):
    @fuzzed(8)
    @given(st.data())
    def name_them(data):
        fields = MISTAKES[study]
        wrong = data.draw(st.lists(st.sampled_from(list(fields)), min_size=1, unique=True))
        words = []
        for field in wrong:
            words += [f"--{field.replace('_', '-')}", *data.draw(st.sampled_from(fields[field]))]
        count = len(compiled)
        status, output = outcome(study, words)
        named = {line.removeprefix("error: ").split(":")[0] for line in output.splitlines()}
        assert (status, named) == (2, set(wrong)), output
        assert len(compiled) == count

    name_them()
