"""The figures of all measures, each as PNG bytes with its message as the title."""

import matplotlib
import numpy as np

from experiments.generalization.all_measures.networks import ENVIRONMENTS
from experiments.generalization.all_measures.runs import Results
from experiments.study.showing.figures import ACCENT, CONTEXT, REFERENCE, chart, finished
from geometry.measures import FAMILIES


def rankings(results: Results) -> bytes:
    """Every measure's Ψ in both environments with its interval, the highest on shifted images on top."""
    trained, shifted = (results.rankings[environment] for environment in ENVIRONMENTS)
    names = sorted(shifted, key=lambda name: -shifted[name].psi.value)
    figure, ax = chart(9, 1.4 + 0.2 * len(names), framed=True)
    for ranked, color, shift in ((trained, REFERENCE, -0.15), (shifted, ACCENT, 0.15)):
        places = np.arange(len(names)) + shift
        estimates = np.array([ranked[name].psi for name in names])
        ax.hlines(places, *estimates[:, 1:].T, color=color, linewidth=2)
        ax.plot(estimates[:, 0], places, "o", color=color, markersize=3)
    ax.axvline(0, color=CONTEXT, zorder=0)
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("Ψ, the mean rank correlation with the error along single settings")
    colors = dict(zip(ENVIRONMENTS, (REFERENCE, ACCENT), strict=True))
    return finished(figure, "Which measure ranks networks of one training loss?", colors)


def regrets(results: Results) -> bytes:
    """The regret of choosing by each measure in both environments, coloured by family."""
    trained, shifted = (results.rankings[environment] for environment in ENVIRONMENTS)
    families = results.config.families
    shades = matplotlib.colormaps["tab10"](np.arange(len(families)))
    figure, ax = chart(8, 5, framed=True)
    for family, color in zip(families, shades, strict=True):
        names = list(FAMILIES[family].measures)
        ax.plot(
            [trained[name].regret.value for name in names],
            [shifted[name].regret.value for name in names],
            "o",
            color=color,
            alpha=0.7,
        )
    ax.axline((0, 0), (1, 1), color=CONTEXT, zorder=0)
    ax.set_xlabel("regret as trained, over the range of the errors")
    ax.set_ylabel("regret shifted")
    colors = dict(zip(families, map(matplotlib.colors.to_hex, shades), strict=True))
    return finished(figure, "What does choosing by a measure lose?", colors | {"equal": CONTEXT})
