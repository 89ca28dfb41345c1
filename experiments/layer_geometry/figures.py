"""The figures of a study of layer geometry, each as PNG bytes with its message as the title."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from experiments.layer_geometry.config import SPECTRAL_ONLY
from experiments.layer_geometry.runs import Results
from experiments.study.showing.figures import finished, ranking

SIGN_TO_SPECTRAL = LinearSegmentedColormap.from_list("geometry", ["#e08214", "#f7f7f7", "#0b6fb8"])
HEAT = "viridis"
MISSING = "#bbbbbb"
CLEAR = 2.0  # an index from here on has its full colour: seven times the gain


def suited(results: Results) -> bytes:
    """Which geometry three criteria find for every layer along training."""
    values = results.series.values
    shown = {
        "noise index log R": values["index"],
        "curvature index log R": values["curvature_index"],
        "log(nuclear / stable rank)": np.log(values["rank_ratio"]),
    }
    return _heat_maps(
        {title: _middle(measured) for title, measured in shown.items()},
        results,
        results.config.probed_steps,
        SIGN_TO_SPECTRAL,
        Normalize(-CLEAR, CLEAR),
        "◂ sign (Euclidean)   spectral ▸",
        "Which geometry suits which layer, and when?",
    )


def noise(results: Results) -> bytes:
    """The three noise scales of every layer along training."""
    names = ("euclidean", "sign", "spectral")
    shown = {name: _middle(results.series.values[f"noise_{name}"]) for name in names}
    finite = np.concatenate([scales[np.isfinite(scales) & (scales > 0)] for scales in shown.values()])
    return _heat_maps(
        shown,
        results,
        results.config.probed_steps,
        HEAT,
        LogNorm(finite.min(), finite.max()),
        "noise scale in examples",
        f"How noisy is each layer's gradient? (batch {results.config.batch_size})",
    )


def path(results: Results) -> bytes:
    """How each layer's gradient lies to the way that is left to the end of training."""
    values = results.series.values
    return _heat_maps(
        {"γ": _middle(values["cosine"])},
        results,
        results.config.probed_steps,
        SIGN_TO_SPECTRAL,
        Normalize(-0.5, 0.5),
        "cosine γ with the way left to w*",
        "Does each layer's gradient point to where training ends?",
    )


def choices(results: Results) -> bytes:
    """Where the index left or put the layers, over the confirming runs."""
    return _heat_maps(
        {"by the index": results.series.spectral},
        results,
        results.config.recorded_steps,
        SIGN_TO_SPECTRAL,
        Normalize(0, 1),
        "share of runs in which it was spectral",
        "What did the index choose?",
    )


def scores(results: Results) -> bytes:
    """The confirmed score of every way to choose, with its interval, best on top."""
    score = f"{results.config.metric}, median of {results.config.confirm_replicates} fresh seeds"
    return ranking(results.standings, SPECTRAL_ONLY, score, "Does choosing by the index pay?")


def _middle(values: Float[np.ndarray, "replicates layers probes"]) -> Float[np.ndarray, "layers probes"]:
    """The median over replicates."""
    return np.median(values, axis=0)


def _heat_maps(
    maps: Mapping[str, Float[np.ndarray, "layers steps"]],
    results: Results,
    steps: Sequence[int],
    colors: str | Colormap,
    scale: Normalize,
    meaning: str,
    message: str,
) -> bytes:
    """One map of layers × steps for each title, with one colour bar beside them."""
    layers = results.series.layers
    figure = Figure(figsize=(3.2 + 2.6 * len(maps), max(3.4, 1.8 + 0.28 * len(layers))), layout="constrained")
    axes = figure.subplots(1, len(maps), squeeze=False, sharey=True)[0]
    edges = [*steps, steps[-1] + (steps[1] - steps[0] if len(steps) > 1 else 1)]
    for ax, (title, values) in zip(axes, maps.items(), strict=True):
        ax.set_facecolor(MISSING)
        image = ax.pcolormesh(edges, np.arange(len(layers) + 1), values, cmap=colors, norm=scale)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("step")
    axes[0].set_yticks(np.arange(len(layers)) + 0.5, [layer.name for layer in layers])
    axes[0].invert_yaxis()
    bar = figure.colorbar(image, ax=axes, label=meaning, format="{x:g}")
    bar.ax.yaxis.set_minor_formatter("{x:g}")
    return finished(figure, message)
