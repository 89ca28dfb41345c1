"""The table of training speeds: what it says of itself must agree."""

import re

import jax
import numpy as np
from rich.console import Console

from experiments.throughput import measure, training
from experiments.throughput.measure import share_of_gemm_peak
from experiments.throughput.training import Setting, images, report_training
from workloads.images import MLP


def test_the_share_is_the_median_of_paired_ratios(monkeypatch):
    """With a clock of our own: a machine that slows down by half does so for the peak and for the call."""
    seconds = iter([9.0, 9.0, 1.0, 4.0, 1.0, 2.0, 8.0, 2.0, 1.0, 5.0, 1.0])
    monkeypatch.setattr(measure, "_seconds", lambda call: next(seconds))
    monkeypatch.setattr(measure, "gemms", lambda: measure.Side(lambda: None, 100))
    row = share_of_gemm_peak(lambda: None, 40, repeats=3)
    np.testing.assert_allclose((row.ours, row.baseline, row.ratio), (8, 100, 0.1), rtol=1e-12)


def test_columns_agree_and_every_comparison_has_a_row(monkeypatch):
    setting = Setting("network", lambda: images(MLP(10, (4,)), 4, 4, 1), batch_size=16, steps=3, vectorize=2)
    monkeypatch.setattr(training, "SETTINGS", (setting,))
    monkeypatch.setattr(training, "COMPARISONS", ((setting, "the other", setting.make),))
    monkeypatch.setattr(measure, "GEMM_SIZE", 16)
    monkeypatch.setattr(measure, "_seconds", lambda call, *clock: (jax.block_until_ready(call()), 0.25)[1])
    console = Console(record=True, width=200)
    report_training(1, console)
    text = console.export_text()
    (line,) = re.findall(r"network +│ (.*) │", text.split("against")[0])
    batch, steps, runs, milliseconds, gflops, _ = (cell.strip() for cell in line.split("│"))
    assert (int(batch), int(steps)) == (16, 3)
    rate = float(runs.replace(",", ""))
    np.testing.assert_allclose(rate * 3 * float(milliseconds), 1e3, rtol=0.1)
    np.testing.assert_allclose(float(gflops), rate * 3 * training.step_flops(setting) / 1e9, atol=0.06)
    assert re.search(r"network +│ [\d.]+ +│ the other +│ [\d.]+ +│ [\d.]+×", text)
