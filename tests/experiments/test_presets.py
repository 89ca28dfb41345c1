"""The searches at the paper's scale, in miniature, on files in the published formats."""

import json

import numpy as np
import pytest

from experiments.shape_search import main

pytestmark = pytest.mark.usefixtures("no_report")

MINIATURE = [
    *["--families", "cosine", "--strategy", "sobol", "--candidates", "2", "--rung-replicates", "1"],
    *["--rung-horizons", "1", "--top", "1", "--select-replicates", "1", "--confirm-replicates", "2"],
    *["--checked", "0", "--batch-size", "4", "--num-steps", "2", "--evaluations", "2"],
    *["--vectorize", "1", "--devices", "1"],
]
METRICS = {f"{split}_{kind}" for split in ("train", "test") for kind in ("loss", "error")}


def write_cifar10(folder):
    """Binary batches: a byte for the label, then three planes of 32×32 bytes."""
    random = np.random.default_rng(0)
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        records = random.integers(0, 256, (2, 1 + 3 * 32 * 32), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return []


def write_wikitext103(folder):
    """A line a paragraph, a heading between = signs."""
    random = np.random.default_rng(1)
    words = np.array([f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"])
    for name, lines in {"train": 40, "valid": 6, "test": 6}.items():
        paragraphs = [" ".join(random.choice(words, 30)) for _ in range(lines)]
        text = "".join(f" \n = {line[:12]} = \n \n {line} . \n" for line in paragraphs)
        (folder / f"wiki.{name}.raw").write_text(text)
    return ["vocabulary", "300", "width", "16", "layers", "1", "heads", "2", "context", "16"]


WRITERS = {"cifar10": write_cifar10, "wikitext103": write_wikitext103}


def rows(folder, journal_rows, stage):
    return [row for (run_stage, *_), row in journal_rows(folder).items() if run_stage == stage]


@pytest.mark.parametrize(
    ("preset", "write"), [("cifar10", write_cifar10), ("wikitext103", write_wikitext103)]
)
def test_a_preset_runs_on_files_in_the_published_format(tmp_path, journal_rows, capsys, preset, write):
    data, study = tmp_path / "data", tmp_path / "study"
    data.mkdir()
    options = ["folder", str(data), "files", "any", *WRITERS[preset](data)]
    words = [preset, *MINIATURE, "--workload-options", *options, "--folder", str(study)]
    assert main(words) == 0, capsys.readouterr().out
    confirmed = rows(study, journal_rows, "confirm")
    assert len(confirmed) == 2 * 2  # cosine and constant, two seeds each
    for row in confirmed:
        metrics = row["metrics"]
        assert metrics.keys() == METRICS | {f"best_{name}" for name in METRICS}
        assert all(metrics[f"best_{name}"] <= metrics[name] for name in METRICS)
        assert np.all(np.isfinite(list(metrics.values())))
    config = json.loads((study / "config.json").read_text())
    assert (config["workload"], config["num_steps"]) == (preset, 2)
    assert rows(study, journal_rows, "screen")


@pytest.mark.parametrize("preset", WRITERS)
def test_without_its_files_a_preset_says_what_to_get_and_where_to_put_it(
    tmp_path, monkeypatch, capsys, preset
):
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path / "data"))
    assert main([preset, "--folder", str(tmp_path / "study")]) == 2
    output = capsys.readouterr().out
    assert "https://" in output
    assert str(tmp_path / "data" / preset) in output
    assert not (tmp_path / "study").exists()
