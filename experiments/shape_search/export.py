"""A winner as code: an optax snippet and a plain table of multipliers."""

import numpy as np

from experiments.shape_search.config import Config
from experiments.shape_search.runs import Results
from experiments.study.training.optimizers import call, chain_code
from schedules.search import Candidate


def best_exported(results: Results) -> str:
    """The better of the best winner and of what was found to beat it, under a line that says which it is."""
    name, verdict = results.best.name, results.verdicts.get(results.best.name)
    said = f"{name}, the best winner" + (f": {verdict}" if verdict else "")
    if results.challenger is None:
        return f"# {said}\n{exported(results.best.winner.candidate, results.config)}"
    return f"# what was found to beat {said}\n{exported(results.challenger, results.config)}"


def exported(candidate: Candidate, config: Config) -> str:
    """The schedule of a candidate with the optimizer that it drove."""
    family, params, base_lr = candidate.family, dict(candidate.params), candidate.base_lr
    options = ", ".join(f"{name}={value!r}" for name, value in family.options.items())
    multipliers = np.asarray(family.multipliers(params, config.num_steps))
    clipping = [call("optax.clip_by_global_norm", max_norm=config.clip_norm)] if config.clip_norm else []
    optimizer = chain_code([*clipping, *config.calls])
    return "\n".join(
        [
            "import optax",
            *(["import optim"] if "optim." in optimizer else []),
            "import schedules",
            "",
            f"family = schedules.FAMILIES[{family.name!r}]"
            + (f".with_options({options})" if options else ""),
            f"params = {params!r}",
            f"schedule = family.schedule(params, base_lr={base_lr!r}, num_steps={config.num_steps})",
            f"optimizer = {optimizer}",
            "",
            f"# step multiplier, times a base learning rate of {base_lr!r}",
            *(f"{step} {multiplier:.7g}" for step, multiplier in enumerate(multipliers)),
        ]
    )
