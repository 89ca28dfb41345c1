"""The figures of a study of cooldowns, each as PNG bytes with its message as the title."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from experiments.cooldown.claims import changes, scale_of
from experiments.cooldown.config import Config
from experiments.cooldown.endings import (
    AVERAGED,
    CLAIMED,
    CONSECUTIVE,
    COSINE,
    LINEAR,
    ONE_RATE,
    SCHEDULE_FREE,
    SEARCHED,
    Cooled,
    Setting,
)
from experiments.cooldown.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished, log_scale, panels
from schedules.search import Scale, median_estimate

COLORS = {
    SEARCHED: "#7b3294",
    CLAIMED: ACCENT,
    ONE_RATE: "#9ecae1",
    LINEAR: "#1b7837",
    CONSECUTIVE: "#e08214",
    AVERAGED: "#c51b7d",
    SCHEDULE_FREE: "#8c510a",
}
FORM_COLORS = (ACCENT, "#e08214", "#1b7837", "#c51b7d", "#7b3294", REFERENCE)


def horizons(results: Results) -> bytes:
    """Loss against horizon, by branches and from scratch, each horizon's branches behind them."""
    config = results.config
    figure, ax = chart(8, 4.2)
    claimed = [results.confirmed[setting] for setting in results.contestants[CLAIMED]]
    scratch = list(results.scratch.values())
    ax.plot(config.horizons, np.array(claimed), color=CONTEXT, linewidth=0.7, zorder=0)
    for losses, color, shift in ((claimed, ACCENT, 0.985), (scratch, REFERENCE, 1.015)):
        for horizon, scores in zip(config.horizons, losses, strict=True):
            value, low, high = median_estimate(scores, config.confidence)
            ax.plot(shift * horizon, value, "o", color=color, markersize=5)
            ax.vlines(shift * horizon, low, high, color=color, linewidth=2)
    log_scale(ax, "y", np.concatenate([*claimed, *scratch]))
    _over_horizons(ax, config)
    ax.set_ylabel(config.metric)
    colors = {"branches": ACCENT, "from scratch": REFERENCE, "branches of one trunk": CONTEXT}
    return finished(figure, "Does a branch end where a whole run does?", colors)


def rivals(results: Results) -> bytes:
    """How far every contestant ends from the cosine tuned for its horizon."""
    config, scale = results.config, scale_of(results)
    figure, ax = chart(8, 4.2)
    against_cosine = changes(results.contestants, results.contestants[COSINE], results)
    equal = 1.0 if scale is Scale.RELATIVE else 0.0
    ends = []
    for (name, color), shift in zip(COLORS.items(), np.linspace(0.88, 1.12, len(COLORS)), strict=True):
        found = equal + np.array(against_cosine[name])
        ax.plot(shift * np.array(config.horizons), found[:, 0], "o", color=color, markersize=4)
        ax.vlines(shift * np.array(config.horizons), *found[:, 1:].T, color=color, linewidth=2)
        ends += found.ravel().tolist()
    ax.axhline(equal, color=CONTEXT, zorder=0)
    log_scale(ax, "y", ends)
    _over_horizons(ax, config)
    ax.set_ylabel(f"{config.metric}, {'over' if equal else 'minus'} the tuned cosine's")
    return finished(figure, "Which end of a run beats a cosine made for it?", COLORS)


def cooldowns(results: Results) -> bytes:
    """The screening loss of every form over lengths, at each horizon."""
    config = results.config
    figure, axes = panels([f"{horizon} steps" for horizon in config.horizons], columns=3, sharex=True)
    colors = dict(zip(config.all_forms, FORM_COLORS, strict=False))
    for ax, horizon in zip(axes, config.horizons, strict=True):
        shown = {form: [_screened(form, n, horizon, results) for n in config.all_lengths] for form in colors}
        for form, losses in shown.items():
            ax.plot(config.all_lengths, losses, ".-", color=colors[form], linewidth=1)
        log_scale(ax, "x", config.all_lengths)
        log_scale(ax, "y", [loss for losses in shown.values() for loss in losses])
    figure.supxlabel("length of the cooldown, as a fraction of the horizon", fontsize=9)
    figure.supylabel(f"{config.metric} (screening, best learning rate)", fontsize=9)
    return finished(figure, "Which form and length of the cooldown?", colors)


def _over_horizons(ax: Axes, config: Config) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(config.horizons, map(str, config.horizons))
    ax.set_xlabel("horizon in steps")


def _screened(form: str, length: float, horizon: int, results: Results) -> float:
    """The median loss of a cooldown at its best learning rate."""
    places = range(len(results.config.learning_rates))
    return min(results.screened[Setting(Cooled(form, length), horizon, place)] for place in places)
