"""How many devices, beyond one, and how large chunks change how long a study takes, and not one bit of it."""

import pytest

from experiments.shape_search import STUDY
from experiments.study.options.errors import StudyError
from workloads import LongSweep

pytestmark = [pytest.mark.bits, pytest.mark.usefixtures("no_report")]


def test_two_studies_of_one_folder_may_change_devices_half_way(tmp_path, finished, tiny_config, journal_rows):
    """What was recorded on two devices and what was added on eight make the same study."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, chunks=9)
        with pytest.raises(KeyboardInterrupt):
            STUDY.run(tiny_config(), tmp_path, devices=2, chunk_runs=10)
    asked = {candidate for stage, _, candidate, *_ in journal_rows(tmp_path) if stage == "screen"}
    assert max(asked) == 7  # in the middle of the second batch, which a model asked for
    STUDY.run(tiny_config(), tmp_path, devices=8, chunk_runs=64)
    assert journal_rows(tmp_path) == journal_rows(finished.folder)
    assert (tmp_path / "winners.json").read_bytes() == (finished.folder / "winners.json").read_bytes()


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_study_keeps_to_one_device_or_to_several(tmp_path, tiny_config, journal_rows, first, second):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, chunks=1)
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


def stop_after(patch, chunks):
    whole, calls = LongSweep.whole, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) > chunks:
            raise KeyboardInterrupt
        return whole(*arguments)

    patch.setattr(LongSweep, "whole", interrupted)
