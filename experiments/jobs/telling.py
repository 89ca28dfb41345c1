"""What is told of a trial: whether it is sound, and whether it is new. Imports no JAX."""

import math
from collections.abc import Mapping

from experiments.jobs.state import JobTrial, State, Told
from experiments.study.options.errors import StudyError


def telling(
    state: State,
    value: float | None,
    sem: float | None,
    step: int | None,
    metrics: Mapping[str, float],
    failed: bool,
    diverged: bool,
) -> tuple[str, dict]:
    """The kind and the content of the event that says so; raises StudyError with all that is wrong."""
    num_steps = state.config["num_steps"]
    problems = []
    if (value is not None) + failed + diverged != 1:
        problems.append("value: needed, or else that the trial failed, or that it diverged; one of them.")
    if value is not None and not math.isfinite(value):
        problems.append(f"value: must be finite, got {value}; of a run that diverged, tell that it did.")
    if sem is not None and not 0 <= sem < math.inf:
        problems.append(f"sem: must be finite and not negative, got {sem}.")
    if step is not None and not 1 <= step <= num_steps:
        problems.append(f"step: must be from 1 to {num_steps}, got {step}.")
    if value is None and (sem is not None or step is not None):
        problems.append("sem, step: are those of a value.")
    if problems:
        raise StudyError("\n".join(problems))
    if value is None:
        return ("failed" if failed else "diverged"), {}
    numbers = {name: float(number) if math.isfinite(number) else None for name, number in metrics.items()}
    content = {"value": float(value), "sem": sem, "metrics": numbers}
    return ("told", content) if step in (None, num_steps) else ("partial", {"step": step, **content})


def is_new(trial: JobTrial, kind: str, content: Mapping, replace: bool) -> bool:
    """Whether it is to be recorded; raises StudyError where it contradicts what was told before."""
    if kind == "partial":
        return _is_new_partial(trial, content, replace)
    if trial.status in ("pending", "proposed"):  # the latter where it was given up as stale
        if replace:
            raise StudyError(f"replace: nothing was told of {trial.id} yet.")
        return True
    earlier = {} if trial.told is None else _content_of(trial.told)
    if (kind, content) == (trial.status, earlier):
        return False
    if not replace:
        told = f"{trial.told.value:g}" if trial.told else f"that it {trial.status}"
        raise StudyError(f"{trial.id} was told before: {told}. To correct that, say that this replaces it.")
    return True


def _is_new_partial(trial: JobTrial, content: Mapping, replace: bool) -> bool:
    told = {partial.step: partial.told for partial in trial.partial}
    earlier = told.get(content["step"])
    if earlier is not None and {"step": content["step"], **_content_of(earlier)} == content:
        return False
    if earlier is not None and not replace:
        raise StudyError(
            f"{trial.id} was told before at step {content['step']}: {earlier.value:g}."
            " To correct that, say that this replaces it."
        )
    return True


def _content_of(told: Told) -> dict:
    """As an event holds it."""
    numbers = {name: value if math.isfinite(value) else None for name, value in told.metrics.items()}
    return {"value": told.value, "sem": told.sem, "metrics": numbers}
