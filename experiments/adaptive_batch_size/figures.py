"""The figures of a study of adaptive batch sizes, each as PNG bytes with its message as the title."""

from collections.abc import Callable, Iterable

import numpy as np
from matplotlib.axes import Axes

from experiments.adaptive_batch_size.config import ADAPTIVE, EUCLIDEAN_DRIVEN, LARGE, MATCHED, SMALL
from experiments.adaptive_batch_size.outcome import PUBLISHED, Curves, Outcome, costs_to
from experiments.adaptive_batch_size.runs import Results
from experiments.study.showing.figures import CONTEXT, chart, finished, log_scale, panels

COLORS = {SMALL: "#8a8a8a", LARGE: "#7b3294", EUCLIDEAN_DRIVEN: "#e08214", MATCHED: "#0b6fb8"}
MIDDLE = (0.1, 0.5, 0.9)  # quantiles over seeds that bands show
LEVELS, HIGHEST_LEVEL = 60, 4  # losses to reach, from so many times the common one
SHOWN_ABOVE_BEST = 12  # times the best median: what is worse is cut off


def losses(results: Results) -> bytes:
    """The loss against examples, updates and seconds, a column an optimizer."""
    config, count = results.config, len(results.outcomes)
    examples = np.array(config.curve_samples)
    axes_along: dict[str, Callable[[Outcome], np.ndarray]] = {
        "examples seen": lambda outcome: examples,
        "updates": lambda outcome: np.median(outcome.runs.curves.updates, axis=0),
        "seconds": lambda outcome: np.median(outcome.runs.seconds, axis=0),
    }
    titles = [optimizer for _ in axes_along for optimizer in results.outcomes]
    figure, axes = panels(titles, columns=count, sharey="col")
    shown = {optimizer: _medians(outcomes.values()) for optimizer, outcomes in results.outcomes.items()}
    for row, (label, places) in enumerate(axes_along.items()):
        for ax, (optimizer, outcomes) in zip(axes[row * count :], results.outcomes.items(), strict=False):
            ax.axhline(outcomes[SMALL].level, color=CONTEXT, zorder=0)
            for strategy, outcome in outcomes.items():
                ax.plot(places(outcome), _quantiles(outcome.runs.curves.losses)[1], color=COLORS[strategy])
            best = min(shown[optimizer])
            log_scale(ax, "y", [v for v in shown[optimizer] if v < SHOWN_ABOVE_BEST * best])
            ax.set_xlabel(label, fontsize=8)
    figure.supylabel(f"{config.metric}, median of {config.confirm_replicates} seeds")
    return finished(
        figure, "Does a growing batch reach the loss sooner?", _labels(results) | {"equal loss": CONTEXT}
    )


def trajectories(results: Results) -> bytes:
    """Batch size, learning rate, noise and signal along the examples, with a band over seeds."""
    config, count = results.config, len(results.outcomes)
    examples = np.array(config.curve_samples)
    multipliers = np.append(np.asarray(config.multipliers), 0.0)[examples // config.small_batch]
    rows: dict[str, Callable[[Outcome], np.ndarray]] = {
        "batch size": lambda outcome: outcome.runs.curves.batch_sizes,
        "learning rate": lambda outcome: (
            outcome.runs.tuned.setting.learning_rate * outcome.runs.curves.rate_factors * multipliers
        ),
        "noise²": lambda outcome: outcome.runs.curves.noise,
        "signal²": lambda outcome: outcome.runs.curves.signal,
    }
    titles = [f"{optimizer}: {label}" for label in rows for optimizer in results.outcomes]
    figure, axes = panels(titles, columns=count, sharex=True)
    for row, (label, values) in enumerate(rows.items()):
        for ax, outcomes in zip(axes[row * count :], results.outcomes.values(), strict=False):
            drawn = []
            for strategy, outcome in outcomes.items():
                if strategy in ADAPTIVE or label in ("batch size", "learning rate"):
                    drawn += _band(ax, examples, values(outcome), COLORS[strategy])
            if label != "learning rate":
                log_scale(ax, "y", drawn)
    figure.supxlabel("examples seen (bands: four fifths of the seeds)")
    return finished(figure, "How the batch grows, and why", _labels(results))


def savings(results: Results) -> bytes:
    """The share of the small batch's updates that each growing batch saves, with intervals."""
    figure, ax = chart(9, 1.6 + 0.75 * len(results.outcomes))
    shown = [outcomes[s].saved.updates for outcomes in results.outcomes.values() for s in ADAPTIVE]
    ends = [100 * end for end in np.ravel(shown) if np.isfinite(end)]  # -inf where a level is not reached
    lowest, highest = min([0, *ends]) - 5, max([0, *ends]) + 5
    for place, (optimizer, outcomes) in enumerate(results.outcomes.items()):
        for strategy, height in ((EUCLIDEAN_DRIVEN, place - 0.17), (MATCHED, place + 0.17)):
            outcome, color = outcomes[strategy], COLORS[strategy]
            saved = np.clip(100 * np.array(outcome.saved.updates), lowest, highest)
            ax.plot(saved[1:], [height, height], color=color, linewidth=3)
            ax.plot(saved[0], height, "o", color=color)
            in_all = 100 * outcome.saved.updates_in_all.value
            ax.plot(in_all, height, "o", color=color, markerfacecolor="white", markersize=5)
        ax.plot(100 * PUBLISHED[optimizer].saved, place + 0.17, "x", color="black", markersize=6)
    ax.axvline(0, color=CONTEXT, zorder=0)
    ax.set_yticks(range(len(results.outcomes)), list(results.outcomes))
    ax.invert_yaxis()
    ax.set_xlabel(
        f"updates saved, % of the constant batch of {results.config.small_batch}'s\n"
        "● at equal loss, with interval   ○ by the end of the run   × published, Llama 160M, matched"
    )
    return finished(
        figure,
        "How many updates does a growing batch save?",
        {f"{strategy} noise scale": COLORS[strategy] for strategy in ADAPTIVE},
    )


def levels(results: Results) -> bytes:
    """The share of the small batch's updates that is saved on the way to every loss, as far as half of the
    runs come down to it."""
    figure, axes = panels(list(results.outcomes), columns=5, sharey=True)
    for ax, outcomes in zip(axes, results.outcomes.values(), strict=True):
        small = outcomes[SMALL]
        highest, lowest = HIGHEST_LEVEL * small.level, min(_medians(outcomes.values()))
        heights = np.geomspace(max(highest, lowest), lowest, LEVELS)
        for strategy in (EUCLIDEAN_DRIVEN, MATCHED):
            saved = [_saved(outcomes[strategy].runs.curves, small.runs.curves, level) for level in heights]
            ax.plot(heights, 100 * np.array(saved), color=COLORS[strategy])
        ax.axvline(small.level, color=CONTEXT, zorder=0)
        ax.axhline(0, color=CONTEXT, linewidth=1, zorder=0)
        log_scale(ax, "x", heights)
        ax.invert_xaxis()
    figure.supxlabel(f"{results.config.metric} to reach; a line ends where half of the runs do not")
    figure.supylabel("updates saved, %")
    return finished(
        figure,
        "How far down does the saving go?",
        {name: color for name, color in _labels(results).items() if "noise" in name}
        | {"equal loss": CONTEXT},
    )


def tuning(results: Results) -> bytes:
    """Each strategy's screening score over learning rates, a panel an optimizer."""
    figure, axes = panels(list(results.outcomes), columns=5)
    for ax, outcomes in zip(axes, results.outcomes.values(), strict=True):
        scores = []
        for strategy, outcome in outcomes.items():
            points = outcome.runs.tuned.curve(outcome.runs.tuned.setting.decay)
            ax.plot(*zip(*points, strict=True), ".-", color=COLORS[strategy], linewidth=1)
            scores += points
        best = min(score for _, score in scores)
        log_scale(ax, "x", [rate for rate, _ in scores])
        log_scale(ax, "y", [score for _, score in scores if score < SHOWN_ABOVE_BEST * best])
        ax.tick_params(axis="x", labelsize=7)
    figure.supxlabel("learning rate at the first batch")
    figure.supylabel(f"{results.config.metric} (screening)")
    return finished(figure, "How each depends on its learning rate", _labels(results))


def _labels(results: Results) -> dict[str, str]:
    config = results.config
    names = {
        SMALL: f"constant {config.small_batch}",
        LARGE: f"constant {config.large_batch}",
        EUCLIDEAN_DRIVEN: "Euclidean noise scale",
        MATCHED: "matched noise scale",
    }
    return {names[strategy]: color for strategy, color in COLORS.items()}


def _saved(curves: Curves, reference: Curves, level: float) -> float:
    """The fraction of the reference's updates that is saved to a level; NaN where either's median run does
    not reach it."""
    costs, others = (np.median(costs_to(c.losses, c.updates, level)) for c in (curves, reference))
    return 1 - costs / others if np.isfinite(costs) and np.isfinite(others) and others > 0 else np.nan


def _medians(outcomes: Iterable[Outcome]) -> list[float]:
    medians = np.concatenate([_quantiles(outcome.runs.curves.losses)[1] for outcome in outcomes])
    return medians[np.isfinite(medians)].tolist()


def _quantiles(values: np.ndarray) -> np.ndarray:
    """Those of MIDDLE over seeds."""
    return np.quantile(values, MIDDLE, axis=0, method="inverted_cdf")


def _band(ax: Axes, examples: np.ndarray, values: np.ndarray, color: str) -> list[float]:
    """Draw the median with a band over the seeds that did not diverge; returns the heights drawn."""
    finished = values[np.isfinite(values[:, -1])]
    if not finished.size:
        return []
    known = np.isfinite(finished).all(axis=0)  # the noise is not before it is measured
    low, median, high = _quantiles(finished[:, known])
    ax.plot(examples[known], median, color=color)
    ax.fill_between(examples[known], low, high, color=color, alpha=0.25, linewidth=0)
    return [*low.tolist(), *high.tolist()]
