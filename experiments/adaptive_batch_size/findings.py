"""What is told at the end: the tables on the terminal, and winners.json."""

from typing import Any

import numpy as np
from rich.console import Console

from experiments.adaptive_batch_size.config import SMALL
from experiments.adaptive_batch_size.outcome import Outcome
from experiments.adaptive_batch_size.results import Results
from experiments.adaptive_batch_size.tables import (
    COST_HEADINGS,
    cost_rows,
    loss_headings,
    loss_rows,
    notes,
)
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, claims_json, summary
from experiments.study.showing.tables import estimate_json, finite_or_none, show_table
from experiments.study.storage.folder import StudyFolder


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the tables, what held, and where everything is."""
    show_table(console, results.setting, loss_headings(results), loss_rows(results), (), ())
    show_table(console, f"Costs, beside {SMALL}", COST_HEADINGS, cost_rows(results), notes(results), ())
    show_table(
        console,
        "The claims of arXiv:2602.03001",
        CLAIM_HEADINGS,
        claim_rows(results.claims),
        (*summary(results.claims), results.verdict),
        (folder.report, folder.winners),
        wrapped=(1,),
    )


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json."""
    config = results.config
    return {
        "workload": config.workload,
        "metric": config.metric,
        "confidence": config.confidence,
        "verdict": results.verdict,
        "summary": summary(results.claims),
        "claims": claims_json(results.claims),
        "outcomes": [_outcome_json(outcome, results) for outcome in results.all_outcomes],
    }


def _outcome_json(outcome: Outcome, results: Results) -> dict[str, Any]:
    optimizer, strategy = outcome.contestant
    overhead = outcome.pace.overhead
    return {
        "optimizer": optimizer,
        "strategy": strategy,
        "learning_rate": outcome.tuned.setting.learning_rate,
        "learning_rate_bracketed": outcome.tuned.bracketed,
        "decay": outcome.tuned.setting.decay,
        "score": estimate_json(outcome.score),
        "change": estimate_json(outcome.change),
        "last_batch": float(np.median(outcome.curves.batch_sizes[:, -1])),
        "growth": outcome.growth,
        "updates": outcome.updates,
        "saved_in_all": estimate_json(outcome.saved_in_all),
        "level": finite_or_none(outcome.level),
        "not_reached": outcome.not_reached,
        "saved": estimate_json(outcome.saved),
        "run_seconds": outcome.pace.run,
        "saved_time": estimate_json(outcome.saved_time),
        "measuring": None if overhead is None else estimate_json(overhead),
        "metrics": {k: finite_or_none(v) for k, v in results.beside[str(outcome.contestant)].items()},
    }
