"""How near the best schedule of digits_mlp.py do searches come, and Optuna's TPE beside them?

    python digits_searches.py FOLDER steepest RUNS SEED …
    python digits_searches.py FOLDER tpe RUNS SEED …
    python digits_searches.py FOLDER

The first two make a search a seed, asked for one trial after the other, and keep the loss of what each
chooses: the median of 200 fresh seeds, the same for all. TPE is told to search wsd. A jobs folder that is
there, such as one that shell workers made in FOLDER/steepest-RUNS-SEED, is searched to its end. The third
tells how far above the choice of the longest search the others are.
"""

import functools
import json
import sys
import warnings
from itertools import groupby
from pathlib import Path

import digits_mlp
import numpy as np
import optuna

from experiments.jobs.config import JobsConfig
from experiments.jobs.creating import create_jobs
from experiments.jobs.report import report_jobs
from experiments.search_efficiency.all_shapes.optuna_asks import SAMPLERS, suggested
from schedules import FAMILIES, load_winner

STEPS, RATES = 60, (0.003, 3.0)
FRESH = range(10_000_000, 10_000_200)  # seeds that no search uses
NEAR = 1.1  # times the least loss known
CHOICES = "choices.jsonl"


def steepest(folder, runs, seed):
    """The learning rates that a jobs folder ends with, and its verdict."""
    jobs = create_jobs(folder, JobsConfig(num_steps=STEPS, learning_rates=RATES, runs=runs, seed=seed))
    while trial := jobs.ask("digits"):
        jobs.tell(trial.id, digits_mlp.final_loss(trial.learning_rates, trial.seed))
    found = report_jobs(folder).json()
    winner = load_winner(folder / "winners.json")
    return table(winner.family, winner.params, winner.base_lr), found["near_optimality"]


def tpe(folder, runs, seed):
    """Those of the best run of an Optuna study, which has no verdict."""
    spaces = {"wsd": JobsConfig(num_steps=STEPS, learning_rates=RATES).spaces["wsd"]}
    study, seeds = optuna.create_study(sampler=SAMPLERS["tpe"](optuna, seed)), np.random.default_rng(seed)

    def rates_of(trial):
        proposal = suggested(trial, spaces)
        return table(FAMILIES["wsd"], proposal["params"], proposal["base_lr"])

    study.optimize(lambda trial: digits_mlp.final_loss(rates_of(trial), seeds.integers(2**31)), runs)
    return rates_of(optuna.trial.FixedTrial(study.best_params)), None


def table(family, params, base_lr):
    """The learning rate of every step."""
    return np.float32(base_lr) * np.asarray(family.multipliers(params, STEPS))


def search(folder, contestant, runs, seed):
    """Make one search, and keep what it chose."""
    place = folder / f"{contestant}-{runs}-{seed}"
    rates, verdict = {"steepest": steepest, "tpe": tpe}[contestant](place, runs, seed)
    loss = np.median([digits_mlp.final_loss(rates, fresh) for fresh in FRESH])
    choice = {"contestant": contestant, "runs": runs, "seed": seed, "loss": loss, "verdict": verdict}
    with (folder / CHOICES).open("a") as file:
        file.write(f"{json.dumps({**choice, 'learning_rates': rates.tolist()})}\n")


def show(folder):
    """Print a line for every contestant with so many runs."""
    choices = [json.loads(line) for line in (folder / CHOICES).read_text().splitlines()]
    choices.sort(key=lambda choice: (choice["contestant"], choice["runs"]))
    reference = max(choices, key=lambda choice: choice["runs"])["loss"]
    for (contestant, runs), group in groupby(choices, lambda choice: (choice["contestant"], choice["runs"])):
        losses = np.sort([choice["loss"] for choice in group])
        excesses = ", ".join(f"{100 * (loss / reference - 1):.1f}" for loss in losses)
        count = sum(losses <= NEAR * reference)
        print(f"{contestant}, {runs} runs: within 10 % {count} of {len(losses)}; % above: {excesses}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of numbers that overflow, and of Optuna's options
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    digits_mlp.load_digits = functools.cache(digits_mlp.load_digits)
    folder, contestant, *numbers = [Path(sys.argv[1]), *sys.argv[2:], *[None] * (len(sys.argv) == 2)]
    if contestant is None:
        show(folder)
    else:
        runs, *seeds = map(int, numbers)
        for seed in seeds:
            search(folder, contestant, runs, seed)
