"""How many devices, beyond one, and how large chunks change how long a study takes, and not one bit of it."""

import pytest

from experiments.shape_search import STUDY
from experiments.study.options.errors import StudyError

pytestmark = [pytest.mark.bits, pytest.mark.usefixtures("no_report")]


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_study_keeps_to_one_device_or_to_several(
    tmp_path, tiny_config, journal_rows, at_call, first, second
):
    at_call(1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        STUDY.run(tiny_config(), tmp_path, devices=first, chunk_runs=10)
    rows, names = journal_rows(tmp_path), {1: "one", 2: "several"}
    with pytest.raises(StudyError, match="with one device, or with several of any number") as error:
        STUDY.run(tiny_config(), tmp_path, devices=second)
    assert f"devices: '{names[first]}' there, '{names[second]}' asked for" in str(error.value)
    assert journal_rows(tmp_path) == rows


def test_a_study_on_one_device_is_its_own_in_any_chunks(tmp_path, one_rung_config, journal_rows):
    config = one_rung_config()
    for chunk_runs in (7, 500):
        STUDY.run(config, tmp_path / str(chunk_runs), devices=1, chunk_runs=chunk_runs)
    assert journal_rows(tmp_path / "7") == journal_rows(tmp_path / "500")
