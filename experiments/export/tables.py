"""A schedule as a table of all its steps, for whatever reads numbers."""

import json

from experiments.export.schedule import Schedule


def csv_table(schedule: Schedule) -> str:
    """Columns `step`, `multiplier` and `learning_rate`, below a comment that says whose they are."""
    rows = zip(schedule.multipliers, schedule.learning_rates, strict=True)
    return "\n".join(
        [
            f"# {schedule.origin}",
            "step,multiplier,learning_rate",
            *(f"{step},{multiplier!s},{rate:.9g}" for step, (multiplier, rate) in enumerate(rows)),
        ]
    )


def json_table(schedule: Schedule) -> str:
    """An object of the schedule's parts and of its tables, `multipliers` and `learning_rates`."""
    winner = schedule.winner
    return json.dumps(
        {
            "origin": schedule.origin,
            "family": winner.family.name,
            "options": dict(winner.family.options),
            "params": dict(winner.params),
            "base_lr": winner.base_lr,
            "num_steps": winner.num_steps,
            "multipliers": [float(str(multiplier)) for multiplier in schedule.multipliers],
            "learning_rates": [float(f"{rate:.9g}") for rate in schedule.learning_rates],
        }
    )
