"""What the study found, and its tables."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.generalization.config import Config
from experiments.generalization.correlation import Correlations, correlations
from experiments.generalization.gaps import CRITERIA, Gaps, measured_gaps
from experiments.generalization.halving import Replayed, replay, share_of_budget
from experiments.generalization.trials import FRESH, HALVE, MEASURE, candidates
from experiments.study.showing.tables import change_text, estimate_text, marked_name
from experiments.study.statistics.rank_correlation import percentile_estimate
from experiments.study.storage.journal import Journal
from schedules.search import Estimate, Standing, standings

CLAIMED = CRITERIA[0]  # the exact one; named before any run, as what the first claim is tested with
BASELINES = ("random", "train_loss", "validation_loss")
RANKING_HEADINGS = ("predictor", "rank correlation with the gap [interval]", "at equal n [interval]")


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was studied.
      measured: the gaps and what was predicted.
      correlations: of each of `measured.predictions`, in that order, with the gaps.
      replayed: what each criterion's halving chose.
      standings: the criteria of halving, best first.
      counts: runs by status, "finished" and "diverged".
      seconds: how long the runs took together.
    """

    config: Config
    measured: Gaps
    correlations: Correlations
    replayed: Mapping[str, Replayed]
    standings: tuple[Standing, ...]
    counts: Mapping[str, int]
    seconds: float

    def overall(self, name: str) -> Estimate:
        """A predictor's rank correlation with the gap over all runs."""
        place, found = self._place(name), self.correlations
        return self._estimate(found.overall[place], found.resampled_overall[:, place])

    def by_size(self, name: str) -> dict[int, Estimate]:
        """The same within each train size."""
        place, found = self._place(name), self.correlations
        return {
            int(size): self._estimate(found.by_size[k, place], found.resampled_by_size[:, k, place])
            for k, size in enumerate(np.unique(self.measured.sizes))
        }

    def equal_size(self, name: str) -> Estimate:
        """The mean over train sizes of the rank correlation within each."""
        return self._estimate(*self._within_sizes(name))

    def lead(self, name: str, other: str) -> Estimate:
        """How far the correlation of `name` at equal size lies above that of `other`, paired by resample."""
        pairs = zip(self._within_sizes(name), self._within_sizes(other), strict=True)
        return self._estimate(*(first - second for first, second in pairs))

    def _within_sizes(self, name: str) -> tuple[float, np.ndarray]:
        place, found = self._place(name), self.correlations
        return found.by_size[:, place].mean(), found.resampled_by_size[:, :, place].mean(axis=1)

    def _estimate(self, value: float, resampled: np.ndarray) -> Estimate:
        return percentile_estimate(value, resampled, self.config.confidence)

    def _place(self, name: str) -> int:
        return list(self.measured.predictions).index(name)


def collect(config: Config, journal: Journal) -> Results:
    """What the journal's runs show."""
    measured = measured_gaps(config, journal.metrics(MEASURE))
    predictions = np.stack(list(measured.predictions.values()))
    found = correlations(predictions, measured.gaps, measured.sizes, measured.candidates)
    replayed = replay(config, journal.metrics(HALVE), journal.metrics(FRESH))
    ranked = standings(replayed, BASELINES, config.confidence)
    return Results(config, measured, found, replayed, ranked, journal.counts(), journal.seconds())


def ranking_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under RANKING_HEADINGS, the best at equal train size first."""
    names = sorted(results.measured.predictions, key=lambda name: -results.equal_size(name).value)
    return [
        (name, estimate_text(results.overall(name)), estimate_text(results.equal_size(name)))
        for name in names
    ]


def halving_headings(results: Results) -> tuple[str, ...]:
    """The headings of the table of criteria to halve by."""
    against = (f"vs {name}, {results.standings[0].scale.unit}" for name in BASELINES)
    return "halving by", "test loss [interval]", *against, "most often chosen"


def halving_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `halving_headings`, best first."""
    return [
        (
            marked_name(standing),
            estimate_text(standing.score),
            *(change_text(standing.against.get(name), standing.scale) for name in BASELINES),
            _most_chosen(results.replayed[standing.name]),
        )
        for standing in results.standings
    ]


def _most_chosen(replayed: Replayed) -> str:
    ((setting, times),) = Counter(replayed.chosen).most_common(1)
    return f"{setting} ({times} of {len(replayed.chosen)})"


def notes(results: Results) -> list[str]:
    """What the tables need said."""
    config, counts = results.config, results.counts
    widths, optimizers = ", ".join(map(str, config.widths)), ", ".join(config.optimizers)
    ratio = np.median(results.measured.predictions[CLAIMED] / results.measured.gaps)
    share = share_of_budget(len(candidates(config)), config.rungs)
    return [
        f"The digits at 4×4 pixels; networks with one hidden layer of {widths} units; {optimizers} at"
        f" {config.rates} constant rates each, {config.num_steps} steps of {config.batch_size} examples.",
        f"Spearman's rank correlations over {len(results.measured.gaps):,} runs, {config.confidence:.0%}"
        f" intervals from resampled candidates, a candidate's seeds and sizes together. {CLAIMED} is"
        f" {ratio:.2g} times the gap, the median over runs.",
        f"H is the Gauss–Newton matrix for the exact and block-wise criteria, the Fisher matrix with one"
        f" sampled label for the others; damping {config.damping:g}.",
        f"Halving: {len(candidates(config))} candidates at n = {config.halving_size}, measured at steps"
        f" {', '.join(map(str, config.rungs))}; medians of {config.halving_replicates} replays, each choice"
        f" scored by its median test loss over {config.halving_replicates} fresh seeds. * best; = not"
        " distinguishable from it.",
        f"Equal budget: every criterion is replayed on the same runs and takes {share:.0%} of the steps of"
        f" training all. validation_loss had {config.validation_size} labelled examples for free, on which no"
        " run trained; the others had none.",
        f"{sum(counts.values()):,} runs, of which {counts.get('diverged', 0):,} diverged, in"
        f" {results.seconds:.0f} s. A diverged run has no gap to rank; in halving it scores +inf.",
    ]
