"""The runs of a study of best schedules: what each starts from, and what the journal holds of it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.optimal_schedule.config import Config, Setting
from experiments.study.storage.journal import Identity, Journal
from schedules.descent import MINIMISERS

FAMILY, PROJECTION, MEAN_FIELD, CERTIFY = "family", "projection", "mean field", "certify"


class Trial(NamedTuple):
    """A descent, or the losses of one schedule on the fresh kernels.

    Attributes:
      stage: a minimiser over schedules, or one of the stages above.
      setting: the problem.
      name: the start, or the family, or the schedule that is certified.
      start: which start, where there are several of that name.
    """

    stage: str
    setting: Setting
    name: str
    start: int = 0

    @property
    def identity(self) -> Identity:
        return self.stage, self.name, self.setting.number, 0, self.start

    @property
    def base_lr(self) -> float:
        return self.setting.rate_unit

    @property
    def params(self) -> Mapping[str, float]:
        setting = self.setting
        return {name: getattr(setting, name) for name in ("exponent", "batch_size", "num_steps", "momentum")}


class Found(NamedTuple):
    """What a descent found.

    Attributes:
      loss: what was minimised; for a projection the squared distance over the target's square.
      learning_rates: the schedule.
      point: where it is in the space of the descent; of a family, log base learning rate and angles.
    """

    loss: float
    learning_rates: Float[np.ndarray, "steps"]
    point: Float[np.ndarray, "dims"]


def all_trials(config: Config) -> list[list[Trial]]:
    """All runs of the study, those of a stage in a setting together."""
    return [trials for setting in config.settings for trials in _trials_of(setting, config)]


def _trials_of(setting: Setting, config: Config) -> list[list[Trial]]:
    """All runs in a setting, stage by stage in the order they depend on one another."""
    over_schedules = [*MINIMISERS] if setting.momentum else [*MINIMISERS, MEAN_FIELD]
    starts = config.starts(setting.num_steps)
    return [
        *([Trial(stage, setting, name) for name in starts] for stage in over_schedules),
        *(_family_trials(stage, setting, config) for stage in (FAMILY, PROJECTION)),
        [
            Trial(CERTIFY, setting, name)
            for name in (*over_schedules, *config.families, *map(projected, config.families))
        ],
    ]


def projected(family: str) -> str:
    """What a family's projection on the best found is called."""
    return f"projected {family}"


def _family_trials(stage: str, setting: Setting, config: Config) -> list[Trial]:
    """All families' first start, then all their second: whoever splits these splits the work evenly."""
    return [
        Trial(stage, setting, name, start)
        for start in range(config.family_starts)
        for name in config.families
    ]


def read(journal: Journal, stage: str, setting: Setting) -> dict[tuple[str, int], dict[str, float]]:
    """By name and start, the metrics of a stage's runs in a setting."""
    return {
        (name, start): metrics
        for (_, name, number, _, start), metrics in journal.metrics(stage).items()
        if number == setting.number
    }


def series(metrics: Mapping[str, float], name: str) -> Float[np.ndarray, "length"]:
    """The metrics NAME@0, NAME@1, …, as an array; what is not finite has become +inf."""
    length = sum(key.startswith(f"{name}@") for key in metrics)
    values = np.array([metrics[f"{name}@{place}"] for place in range(length)])
    return np.where(np.isnan(values), np.inf, values)


def as_metrics(**columns: Float[np.ndarray, "runs *length"]) -> list[dict[str, float]]:
    """A dictionary a run; an array of several values a run becomes NAME@0, NAME@1, …"""
    flat = {}
    for name, values in columns.items():
        if values.ndim == 1:
            flat[name] = values.tolist()
        else:
            flat |= {f"{name}@{place}": values[:, place].tolist() for place in range(values.shape[1])}
    return [dict(zip(flat, row, strict=True)) for row in zip(*flat.values(), strict=True)]


def lowest(runs: Mapping[tuple[str, int], Mapping[str, float]], name: str | None = None) -> Found:
    """The descent of lowest loss, of those with that name unless None."""
    chosen = [metrics for (of, _), metrics in runs.items() if name in (None, of)]
    best = min(chosen, key=lambda metrics: np.nan_to_num(metrics["loss"], nan=np.inf))
    return Found(np.nan_to_num(best["loss"], nan=np.inf), series(best, "rate"), series(best, "point"))


def candidates(journal: Journal, setting: Setting, config: Config) -> dict[str, Found]:
    """Every schedule that is certified, by name."""
    over_schedules = {stage: read(journal, stage, setting) for stage in (*MINIMISERS, MEAN_FIELD)}
    fits, projections = (read(journal, stage, setting) for stage in (FAMILY, PROJECTION))
    return {
        **{stage: lowest(runs) for stage, runs in over_schedules.items() if runs},
        **{name: lowest(fits, name) for name in config.families},
        **{projected(name): lowest(projections, name) for name in config.families},
    }


def best_minimiser(journal: Journal, setting: Setting) -> str:
    """Whose best schedule is the best found."""
    return min(MINIMISERS, key=lambda name: lowest(read(journal, name, setting)).loss)
