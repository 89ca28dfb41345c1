"""The findings on the terminal, and as winners.json."""

from typing import Any

import numpy as np
from rich.console import Console

from experiments.critical_batch_size.critical import FORMS
from experiments.critical_batch_size.results import (
    CRITICAL_HEADINGS,
    EFFECT_HEADINGS,
    PREDICTION_HEADINGS,
    Results,
    critical_rows,
    effect_rows,
    notes,
    prediction_rows,
)
from experiments.critical_batch_size.variants import Variant
from experiments.study.showing.old_claims import CLAIM_HEADINGS, claim_rows, claims_json, summary
from experiments.study.showing.tables import estimate_json, finite_or_none, show_table
from experiments.study.storage.folder import StudyFolder
from schedules.search import median_estimate


def show(results: Results, folder: StudyFolder, console: Console) -> None:
    """Print the tables, the verdict, and where everything is."""
    show_table(console, results.setting, CRITICAL_HEADINGS, critical_rows(results), (), ())
    show_table(console, "What changes it", EFFECT_HEADINGS, effect_rows(results), (), ())
    show_table(console, "What predicts it", PREDICTION_HEADINGS, prediction_rows(results), (), ())
    show_table(
        console,
        "Claims",
        CLAIM_HEADINGS,
        claim_rows(results.claims),
        (*summary(results.claims), results.verdict, *notes(results)),
        (folder.report, folder.winners),
        wrapped=(1,),
    )


def winners_json(results: Results) -> dict[str, Any]:
    """The content of winners.json: the claims, then every variant, the largest critical batch first."""
    config = results.config
    ranked = sorted(
        results.criticals, key=lambda v: -np.nan_to_num(results.criticals[v].batch.value, nan=-1.0)
    )
    return {
        "workload": config.workload,
        "metric": config.metric,
        "target": config.target,
        "confidence": config.confidence,
        "verdict": results.verdict,
        "claims": claims_json(results.claims),
        "predictions": {
            name: {
                quantity: estimate_json(value) for quantity, value in of.estimates(config.confidence).items()
            }
            for name, of in results.predictions.items()
        },
        "effects": [
            {
                "before": effect.before.name,
                "after": effect.after.name,
                "ratio": estimate_json(effect.ratio),
                "theory": effect.theory,
            }
            for effect in results.effects
        ],
        "winners": [_winner_json(variant, results) for variant in ranked],
    }


def _winner_json(variant: Variant, results: Results) -> dict[str, Any]:
    config, found, curve = results.config, results.criticals[variant], results.curves[variant]

    def estimate(resampled):
        return estimate_json(resampled.estimate(config.confidence))

    return {
        **variant._asdict(),
        "critical_batch": estimate(found.batch),
        "fewest_samples_at": estimate(found.fewest_samples),
        "best_form": found.best_form,
        "laws": {
            form.name: {
                "min_steps": finite_or_none(float(found.fits[form.name].fit.law.min_steps)),
                "scale": finite_or_none(float(found.fits[form.name].fit.law.scale)),
                "critical_batch": estimate(found.by_form(form.name)),
                "residual": finite_or_none(float(found.fits[form.name].fit.residual)),
            }
            for form in FORMS
        },
        "noise": {name: estimate(value) for name, value in found.noise.items()},
        "own_geometry": variant.geometry.name,
        "batches": [
            {
                "batch_size": size,
                "learning_rate": float(curve.learning_rates[place]),
                "learning_rate_bracketed": bool(curve.bracketed[place]),
                "steps": estimate_json(median_estimate(curve.steps[:, place], config.confidence)),
                "replicates": len(curve.steps),
                "not_reached": int(np.sum(np.isinf(curve.steps[:, place]))),
                "diverged": int(curve.diverged[place]),
            }
            for place, size in enumerate(config.batch_sizes)
        ],
    }
