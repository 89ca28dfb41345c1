"""The script for accelerators, in miniature, and what is measured as on them: errors against an SVD, and the
bits of a resumed run."""

import re

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.throughput import accelerator
from experiments.throughput.accelerator import MINIATURE, main, polar_table, resumed_is_the_same
from experiments.throughput.muon import as_exact
from geometry import NewtonSchulz, PolarExpress


def test_every_method_has_a_row_with_its_error(monkeypatch):
    method = NewtonSchulz(2)
    monkeypatch.setattr(accelerator, "METHODS", {"two steps": method})
    console = Console(record=True, width=120)
    console.print(polar_table(MINIATURE))
    (cells,) = re.findall(r"^│ 8×16 +│ two steps +│(.*)│$", console.export_text(), re.MULTILINE)
    sigma = np.linalg.svd(method.factor(jax.random.normal(jax.random.key(0), (8, 16))), compute_uv=False)
    error = float(cells.split("│")[2])
    assert error == pytest.approx(np.sqrt(np.mean((sigma**2 - 1) ** 2)), rel=0.05)  # two digits are shown


def test_as_few_steps_as_are_as_exact():
    stack = np.random.default_rng(0).standard_normal((2, 8, 16), np.float32)

    def error(steps):
        sigma = np.linalg.svd(jax.jit(PolarExpress(steps).factor)(stack), compute_uv=False)
        return np.sqrt(np.mean((sigma**2 - 1) ** 2))

    method, found = as_exact(stack, 0.3)
    assert found == pytest.approx(error(method.steps), rel=1e-3)
    assert error(method.steps) <= 0.3 < error(method.steps - 1)


def test_a_resumed_run_has_the_bits_of_one_in_a_single_piece(monkeypatch):
    assert resumed_is_the_same(MINIATURE)
    monkeypatch.setattr(jax, "device_get", lambda tree: jax.tree.map(lambda x: x + 1, tree))
    assert not resumed_is_the_same(MINIATURE)


def test_an_unknown_option_is_refused():
    with pytest.raises(SystemExit, match="the one option is --miniature, got --tiny"):
        main(["--tiny"])
