"""The number of devices and the size of chunks change how long a study takes, and not one bit of it."""

import jax
import pytest

import workloads
from experiments.shape_search import run

pytestmark = [pytest.mark.bits, pytest.mark.usefixtures("no_report")]


def executed(folder, config, devices, chunk_runs):
    assert len(jax.devices()) == 8
    run(config, folder, devices=devices, chunk_runs=chunk_runs)
    return folder


@pytest.mark.parametrize(("devices", "chunk_runs"), [(1, 1000), (2, 7), (8, 20)])
def test_linear_regression_is_the_same_on_any_devices_in_any_chunks(
    tmp_path, finished, tiny_config, journal_rows, devices, chunk_runs
):
    folder = executed(tmp_path / "study", tiny_config(), devices, chunk_runs)
    assert journal_rows(folder) == journal_rows(finished.folder)
    assert (folder / "winners.json").read_bytes() == (finished.folder / "winners.json").read_bytes()


def test_two_studies_of_one_folder_may_change_devices_half_way(tmp_path, finished, tiny_config, journal_rows):
    """What was recorded on one device and what was added on eight make the same study."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, chunks=9)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_config(), tmp_path, devices=1, chunk_runs=10)
    asked = {candidate for stage, _, candidate, *_ in journal_rows(tmp_path) if stage == "screen"}
    assert max(asked) == 7  # in the middle of the second batch, which a model asked for
    run(tiny_config(), tmp_path, devices=8, chunk_runs=64)
    assert journal_rows(tmp_path) == journal_rows(finished.folder)
    assert (tmp_path / "winners.json").read_bytes() == (finished.folder / "winners.json").read_bytes()


def stop_after(patch, chunks):
    sweep, calls = workloads.sweep, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) > chunks:
            raise KeyboardInterrupt
        return sweep(*arguments, **options)

    patch.setattr(workloads, "sweep", interrupted)
