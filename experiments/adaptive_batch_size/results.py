"""What a study of adaptive batch sizes found."""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.adaptive_batch_size.claims import claims_about
from experiments.adaptive_batch_size.config import ADAPTIVE, SMALL, Config
from experiments.adaptive_batch_size.curves import read_curves
from experiments.adaptive_batch_size.outcome import Outcome, outcomes_of
from experiments.adaptive_batch_size.timing import Timing, pace
from experiments.study.options.pairs import workload_text
from experiments.study.showing.old_claims import Claim
from experiments.study.showing.tables import median_metrics
from experiments.study.storage.journal import Journal
from experiments.study.training.tuning import CONFIRM, Tuned
from schedules.search import Scale


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was compared.
      outcomes: what became of every optimizer, by strategy.
      claims: those of the paper.
      beside: by contestant, the medians of all metrics at the end of the confirming runs.
      counts: runs by status, "finished" and "diverged".
      seconds: how long the runs took together.
    """

    config: Config
    outcomes: Mapping[str, Mapping[str, Outcome]]
    claims: tuple[Claim, ...]
    beside: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    seconds: float

    @property
    def setting(self) -> str:
        config = self.config
        workload = workload_text(config.workload, config.workload_options)
        return (
            f"{workload}, {config.samples:,} examples a run, batches of {config.small_batch} to"
            f" {config.large_batch}, {config.schedule} schedule"
        )

    @property
    def verdict(self) -> str:
        held = sum(bool(claim.held) for claim in self.claims)
        saved = ", ".join(f"{self._saved_range(strategy)} by the {strategy} one" for strategy in ADAPTIVE)
        return (
            f"Updates of the constant {SMALL} batch that a growing one saves at equal {self.config.metric}:"
            f" {saved}. {held} of {len(self.claims)} claims held."
        )

    def _saved_range(self, strategy: str) -> str:
        """The least and the most over optimizers."""
        saved = [100 * of[strategy].saved.value for of in self.outcomes.values()]
        return f"{min(saved):.0f} to {max(saved):.0f} %"

    @property
    def scale(self) -> Scale:
        """Of the changes of the score."""
        return self.all_outcomes[0].scale

    @property
    def all_outcomes(self) -> list[Outcome]:
        return [outcome for of in self.outcomes.values() for outcome in of.values()]


def collect(
    tuned: Mapping[str, Tuned], timings: Mapping[str, Timing], config: Config, journal: Journal
) -> Results:
    """Compare the strategies of every optimizer, and judge the claims."""
    curves = read_curves(journal, config)
    paces = {name: pace(timing, config) for name, timing in timings.items()}
    outcomes = {
        optimizer: outcomes_of(optimizer, tuned, curves, paces, config) for optimizer in config.optimizers
    }
    claims = [
        claim
        for optimizer, of in outcomes.items()
        for claim in claims_about(optimizer, of, config.metric, config.confidence)
    ]
    beside = {
        name: {metric: value for metric, value in values.items() if "@" not in metric}
        for name, values in median_metrics(journal, CONFIRM).items()
    }
    return Results(config, outcomes, tuple(claims), beside, journal.counts(), journal.seconds())
