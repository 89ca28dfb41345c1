"""What a jobs folder tells of its progress. Imports no JAX."""

import itertools
import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.jobs.state import CONFIRM, JobTrial, State


def status_lines(state: State, as_json: bool) -> Iterator[str]:
    """Counts, the best so far, what is next, and every trial that is pending or was told."""
    facts = status_facts(state, time.time())
    if as_json:
        yield json.dumps(facts)
        return
    counts = facts["counts"]
    yield f"{state.config['metric_name']}, {facts['runs']} runs in all; next: {facts['next']}"
    yield "  ".join(f"{name} {count}" for name, count in counts.items())
    if best := facts["best"]:
        low, high = best["interval"] or ("–", "–")
        yield "best so far: {id}  {family}  {value:.6g}".format(**best) + (
            f" [{low:.6g}, {high:.6g}]" if best["interval"] else ", of a single run" * (best["runs"] == 1)
        )
    for trial in facts["trials"]:
        if trial["status"] == "pending":
            yield "pending: {id}  {stage}  {worker}  for {pending_hours:.2f} h".format(**trial)


def status_facts(state: State, now: float) -> dict[str, Any]:
    """As JSON values."""
    trials = list(state.trials.values())
    counts = Counter(trial.status for trial in trials)
    given_up = sum(map(state.given_up, trials))
    return {
        "runs": state.config["runs"],
        "next": next_stage(state),
        "counts": {
            "proposed": len(trials),
            **{status: counts[status] for status in ("pending", "told", "diverged")},
            "failed": counts["failed"] - given_up,
            "given_up": given_up,
            "imported": len(state.imported),
        },
        "best": best_so_far(state),
        "trials": [_facts(trial, now) for trial in trials],
    }


def next_stage(state: State) -> str:
    """explore, confirm, done, or a stage of the challenge."""
    if state.finished:
        return "done"
    if state.exploring:
        return "explore"
    last = next(reversed(state.trials.values()))
    waits = any(state.score(trial) is None for trial in state.trials.values())
    if last.stage in ("screen", "added"):
        return "explore" if waits else "confirm"
    return last.stage if waits else "verdict"


def best_so_far(state: State) -> dict[str, Any] | None:
    """The candidate with the lowest median score over its confirming runs, or over all while there are none;
    with the interval of that median, where its runs are enough for one."""
    groups: dict[tuple[str, int], list[JobTrial]] = {}
    known = [trial for trial in state.trials.values() if state.score(trial) is not None]
    for trial in [trial for trial in known if trial.stage == CONFIRM] or known:
        groups.setdefault((trial.family, trial.number), []).append(trial)
    scores = {key: [state.score(trial) for trial in group] for key, group in groups.items()}
    if not any(map(math.isfinite, itertools.chain(*scores.values()))):
        return None
    key = min(scores, key=lambda name: statistics.median(scores[name]))
    trial, ends = groups[key][0], median_interval(scores[key], state.config["confidence"])
    return {
        "id": trial.id,
        "family": trial.family,
        "params": dict(trial.params),
        "base_lr": trial.base_lr,
        "runs": len(scores[key]),
        "value": state.sign * statistics.median(scores[key]),
        "interval": sorted(state.sign * end for end in ends)
        if ends and all(map(math.isfinite, ends))
        else None,
    }


def median_interval(values: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """From the k-th smallest to the k-th largest of n values, as `schedules.search.scoring` has it: for the
    largest k with 1 - 2 P(Binomial(n, 1/2) < k) ≥ confidence; None where there is none."""
    count, tail, rank = len(values), 0.0, 0
    while rank < count / 2 and 1 - 2 * (tail + math.comb(count, rank) / 2**count) >= confidence:
        tail += math.comb(count, rank) / 2**count
        rank += 1
    ordered = sorted(values)
    return (ordered[rank - 1], ordered[-rank]) if rank else None


def _facts(trial: JobTrial, now: float) -> dict[str, Any]:
    """A trial without its schedule's numbers, which its file has."""
    return {
        "id": trial.id,
        "stage": trial.stage,
        "family": trial.family,
        "status": trial.status,
        "worker": trial.worker,
        "pending_hours": (now - trial.since) / 3600 if trial.status == "pending" else None,
        "failures": trial.failures,
        "value": trial.told and trial.told.value,
        "sem": trial.told and trial.told.sem,
        "metrics": as_json(trial.told.metrics) if trial.told else {},
        "partial": [[partial.step, partial.told.value] for partial in trial.partial],
        "corrections": trial.corrections,
    }


def as_json(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON holds them: what is not finite is null."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
