"""What the figures of a shape search draw, on a made-up search whose numbers are known by hand."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from experiments.shape_search import Config, candidate_figures, figures
from experiments.shape_search.candidate_figures import distribution
from experiments.shape_search.candidates import best_so_far, near_best, shape_scores
from experiments.shape_search.runs import Results
from experiments.study.showing.figures import ACCENT
from experiments.study.storage.journal import Tally
from schedules import FAMILIES
from schedules.search import Candidate, Estimate, Findings, Raced, Standing, Winner, standings

INF = math.inf
LINEAR = FAMILIES["linear"]


def raced(number, *medians, warmup=0.1, base_lr=0.1, family=LINEAR):
    return Raced(Candidate(family, number, {"warmup": warmup}, base_lr), medians)


RACED = (
    raced(0, 3.0, warmup=0.2, base_lr=0.02),
    raced(1, 2.0, 1.5, warmup=0.2, base_lr=0.4),
    raced(2, 1.0, 1.0, warmup=0.25, base_lr=0.2),
    raced(3, 1.0, 1.05, warmup=0.125, base_lr=0.1),
    raced(4, INF, warmup=0.125, base_lr=0.5),
    raced(5, 1.0, INF, warmup=0.0, base_lr=0.3),
)


def standing(winner, low, high):
    score = Estimate((low + high) / 2, low, high) if math.isfinite(high - low) else Estimate(1.0, low, high)
    return Standing("linear", Winner(RACED[winner].candidate, np.ones(3)), score, {}, None)


def test_the_best_so_far_counts_full_measurements_alone():
    assert best_so_far(RACED).tolist() == [INF, 1.5, 1.0, 1.0, 1.0, 1.0]
    assert best_so_far([raced(0, 2.0), raced(1, 3.0), raced(2, 1.0)]).tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("winner", "low", "high", "numbers"),
    [
        (2, 0.96, 1.04, [2]),
        (2, 0.9, 1.1, [2, 3]),  # half an interval is 0.1, and 1.0 the lowest score in full
        (3, 0.98, 1.02, [2, 3]),  # the winner by fresh seeds is among them though it lies 0.05 above
        (1, 0.98, 1.02, [1, 2]),
        (2, 0.0, 1.2, [1, 2, 3]),
        (2, -INF, INF, [1, 2, 3]),  # of a single confirming run, nothing is told apart but divergence
    ],
)
def test_near_the_best_is_what_lies_within_half_the_winners_interval(winner, low, high, numbers):
    assert [raced.number for raced in near_best(RACED, standing(winner, low, high))] == numbers


def test_where_everything_diverged_the_winner_is_alone():
    diverged = [raced(0, INF), raced(1, INF)]
    winner = Winner(diverged[0].candidate, np.full(3, INF))
    sole = Standing("linear", winner, Estimate(INF, INF, INF), {}, None)
    assert near_best(diverged, sole) == [diverged[0].candidate]


def test_a_drawn_shape_scores_at_the_best_of_its_rates():
    shapes = (0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.3)
    asked = [raced(number, 0.0, warmup=warmup) for number, warmup in enumerate(shapes)]
    told = np.array([3.0, 1.0, INF, INF, INF, INF, 0.5])
    assert shape_scores(asked, told).tolist() == [1.0, INF]


def test_a_distribution_counts_what_diverged_among_all():
    values, fractions = distribution(np.array([3.0, INF, 1.0, 2.0]))
    assert (values.tolist(), fractions.tolist()) == ([1, 2, 3], [0.25, 0.5, 0.75])


@pytest.fixture
def drawn(monkeypatch):
    """(module, name) → that figure of the made-up search, before it becomes pixels: the axes of `linear`."""
    for module in (candidate_figures, figures):
        monkeypatch.setattr(module, "as_png", lambda figure: figure)
    config = Config(
        families=("linear",),
        strategy="sobol",
        num_steps=40,
        learning_rates=(0.01, 1.0),
        rung_replicates=(1, 2),
        rung_horizons=(0.5, 1.0),
        confirm_replicates=6,
    )
    screened = {"linear": RACED}
    winners = {"linear": Winner(RACED[3].candidate, np.array([0.95, 0.95, 1.0, 1.0, 1.05, 1.05]))}
    for name, loss in (("cosine", 2.0), ("constant", 3.0)):
        screened[name] = (raced(0, loss, loss, family=FAMILIES[name]),)
        winners[name] = Winner(screened[name][0].candidate, np.full(6, loss))
    told = {
        name: np.array([candidate.medians[-1] for candidate in raced]) for name, raced in screened.items()
    }
    ranked = standings(winners, ("cosine", "constant"), 0.95)
    results = Results(config, Findings(screened, told, winners), ranked, {}, {}, None, Tally(0, 0, 0.0))
    return lambda module, name: getattr(module, name)(results).axes[0]


def test_the_band_spans_the_curves_of_all_that_are_near(drawn):
    """Two lines: up to 0.2 over a quarter of the time, and up to 0.1 over an eighth, then down to zero."""
    x = np.arange(100) / 100
    for name, peaks in (("winning_shapes", (0.2, 0.1)), ("near_best_shapes", (1.0, 1.0))):
        curves = [
            peak * np.where(x < warmup, x / warmup, (1 - x) / (1 - warmup))
            for peak, warmup in zip(peaks, (0.25, 0.125), strict=True)
        ]
        ax = drawn(figures, name)
        (path,) = ax.collections[0].get_paths()
        for place in (5, 25, 62):
            heights = path.vertices[np.isclose(path.vertices[:, 0], x[place]), 1]
            expected = [np.min(curves, axis=0)[place], np.max(curves, axis=0)[place]]
            assert [heights.min(), heights.max()] == pytest.approx(expected, abs=1e-5)
        np.testing.assert_allclose(ax.lines[-1].get_ydata(), curves[1], atol=1e-6)  # the winner's


def test_the_allocation_shows_who_ran_how_far_and_what_diverged(drawn):
    """The highest score in view is the 90 % quantile of 1, 1.05, 1.5, 2, 3, 3: it is 3."""
    ax = drawn(candidate_figures, "allocation")
    dots, triangles = ax.collections
    assert dots.get_offsets().tolist() == [[1, 3.0], [2, 1.5], [3, 1.0], [4, 1.05]]
    assert triangles.get_offsets().tolist() == [[5, 3.0], [6, 3.0]]
    dropped, full = (to_hex(dots.get_facecolors()[row]) for row in (0, 1))
    assert full == ACCENT != dropped
    assert [to_hex(color) for color in triangles.get_facecolors()] == [dropped, full]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [np.nan, 1.5, 1, 1, 1, 1])
    labels = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert labels[:2] == ["2 runs of 40 steps", "1 run of 20 steps"]


def test_scores_lie_over_their_learning_rates_and_the_winner_is_marked(drawn):
    dots, triangles, winner = drawn(candidate_figures, "score_against_rate").collections
    assert dots.get_offsets().tolist() == [[0.02, 3.0], [0.4, 1.5], [0.2, 1.0], [0.1, 1.05]]
    assert triangles.get_offsets().tolist() == [[0.5, 3.0], [0.3, 3.0]]
    assert winner.get_offsets().tolist() == [[0.1, 1.05]]
