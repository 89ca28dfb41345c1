"""What a shape search found: the table, winners.json, and a winner exported."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from experiments.shape_search.config import BASELINES, Config
from experiments.shape_search.near_optimality import verdict_json
from experiments.study.showing.tables import (
    at_edge,
    base_lr_text,
    change_text,
    estimate_json,
    estimate_text,
    finite_or_none,
    marked_name,
    median_metrics,
    shape_text,
    show_table,
)
from experiments.study.storage.folder import StudyFolder
from experiments.study.storage.journal import Journal
from experiments.study.training.optimizers import OPTIMIZERS
from schedules.search import Findings, Scale, Standing, Verdict, verdict
from schedules.winners import FORMAT, LoadedWinner


class Results(NamedTuple):
    """A finished search.

    Attributes:
      config: what was searched.
      findings: every shape's screening scores and every winner's confirming ones.
      standings: the families, best first.
      verdicts: on the best winners, how near-optimal each is.
      beside: by family, the medians of all metrics over the winner's confirming runs.
      counts: runs by status, "finished" and "diverged".
      seconds: how long the runs took together.
    """

    config: Config
    findings: Findings
    standings: tuple[Standing, ...]
    verdicts: Mapping[str, Verdict]
    beside: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    seconds: float

    @property
    def best(self) -> Standing:
        return self.standings[0]

    @property
    def setting(self) -> str:
        config = self.config
        return f"{config.workload}, {config.optimizer}, batch {config.batch_size}, {config.num_steps} steps"

    @property
    def scale(self) -> Scale:
        """Of the changes against the baselines."""
        return self.best.scale

    @property
    def verdict(self) -> str:
        return verdict(self.standings, BASELINES[0])


def collect(
    findings: Findings,
    ranked: tuple[Standing, ...],
    verdicts: Mapping[str, Verdict],
    config: Config,
    journal: Journal,
) -> Results:
    """Add what the journal knows beside the winners' scores."""
    beside = median_metrics(journal, "confirm")
    return Results(config, findings, ranked, verdicts, beside, journal.counts(), journal.seconds())


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json, best first; read back by `schedules.load_winner`."""
    config = results.config
    return {
        "format": FORMAT,
        "workload": config.workload,
        "optimizer": config.optimizer,
        "batch_size": config.batch_size,
        "num_steps": config.num_steps,
        "metric": config.metric,
        "confidence": config.confidence,
        "scale": results.scale.value,
        "verdict": results.verdict,
        "winners": [_winner_json(standing, results) for standing in results.standings],
    }


def _winner_json(standing: Standing, results: Results) -> dict[str, Any]:
    candidate, checked = standing.winner.candidate, standing.name in results.verdicts
    return {
        "family": standing.name,
        "options": dict(candidate.family.options),
        "params": dict(candidate.params),
        "base_lr": candidate.base_lr,
        "base_lr_at_edge": at_edge(candidate.base_lr, results.config.learning_rate_range),
        "candidate": candidate.number,
        "score": estimate_json(standing.score),
        "replicates": len(standing.winner.scores),
        "diverged": standing.diverged,
        "change_against": {name: estimate_json(change) for name, change in standing.against.items()},
        "ties_with_best": standing.ties_with_best,
        "metrics": {name: finite_or_none(value) for name, value in results.beside[standing.name].items()},
        "near_optimality": verdict_json(results.verdicts[standing.name]) if checked else None,
    }


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the final table, the verdict, and where everything is."""
    show_table(
        console,
        results.setting,
        headings(results),
        table_rows(results),
        (results.verdict, *notes(results)),
        (folder.report, folder.winners),
        wrapped=(1,),
    )


def headings(results: Results) -> tuple[str, ...]:
    """The headings of the final table."""
    config = results.config
    against = (f"vs {name}, {results.scale.unit}" for name in BASELINES)
    return "family", "best shape", "base LR", f"{config.metric} [interval]", *against, *_test_metrics(results)


def table_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells under `headings`, a row a family, best first."""
    return [_table_row(standing, results) for standing in results.standings]


def _table_row(standing: Standing, results: Results) -> tuple[str, ...]:
    candidate = standing.winner.candidate
    return (
        marked_name(standing),
        shape_text(candidate.params),
        base_lr_text(candidate.base_lr, results.config.learning_rate_range),
        estimate_text(standing.score),
        *(change_text(standing.against.get(name), results.scale) for name in BASELINES),
        *(f"{results.beside[standing.name][name]:.3g}" for name in _test_metrics(results)),
    )


def _test_metrics(results: Results) -> list[str]:
    """The metrics reported beside the score: those of held-out data."""
    metrics = results.beside[results.best.name]
    test = [name for name in metrics if name.startswith(("test_", "best_test_"))]
    return [name for name in test if name != results.config.metric]


def notes(results: Results) -> list[str]:
    """What the table needs said: its signs, how much was run, what diverged or was not bracketed."""
    config, counts = results.config, results.counts
    lines = [
        f"* best; = not distinguishable from it. Medians of {config.confirm_replicates} fresh seeds with"
        f" {config.confidence:.0%} intervals; changes are paired by seed.",
        f"{sum(counts.values()):,} runs, of which {counts.get('diverged', 0):,} diverged,"
        f" in {results.seconds:.0f} s of training.",
    ]
    lines += [f"{name}: {verdict}." for name, verdict in results.verdicts.items()]
    edge = [s.name for s in results.standings if at_edge(s.winner.base_lr, config.learning_rate_range)]
    if edge:
        lines.append(f"Best base LR at an edge of learning_rates, widen them: {', '.join(edge)}.")
    return lines


def exported(winner: LoadedWinner, config: Config) -> str:
    """A winner as an optax snippet and as a plain table of multipliers."""
    options = "".join(f", {name}={value!r}" for name, value in winner.family.options.items())
    family = f"schedules.FAMILIES[{winner.family.name!r}]"
    family += f".with_options({options[2:]})" if options else ""
    modules = OPTIMIZERS[config.optimizer].imports, "schedules"
    multipliers = np.asarray(winner.family.multipliers(winner.params, winner.num_steps))
    return "\n".join(
        [
            "import optax",
            *(f"import {module}" for module in modules if module),
            "",
            f"family = {family}",
            f"params = {dict(winner.params)!r}",
            f"schedule = family.schedule(params, base_lr={winner.base_lr!r}, num_steps={winner.num_steps})",
            f"optimizer = {_optimizer_code(config)}",
            "",
            f"# step multiplier, times a base learning rate of {winner.base_lr!r}",
            *(f"{step} {multiplier:.7g}" for step, multiplier in enumerate(multipliers)),
        ]
    )


def _optimizer_code(config: Config) -> str:
    betas = "".join(f", {name}={value!r}" for name, value in config.betas.items())
    independent = config.decay_mode == "independent"
    decay = 0.0 if independent else config.weight_decay
    links = [OPTIMIZERS[config.optimizer].code.format(weight_decay=decay, betas=betas)]
    if config.clip_norm is not None:
        links.insert(0, f"optax.clip_by_global_norm({config.clip_norm!r})")
    if independent:
        links.append(f"optax.add_decayed_weights({-config.weight_decay!r})")
    return f"optax.chain({', '.join(links)})" if len(links) > 1 else links[0]
