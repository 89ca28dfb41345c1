"""A callback for the Trainer of Hugging Face's transformers: it sets every step's rate, and tells losses.

With it a trial is trained by:

    trial = asked(folder, worker)
    arguments = TrainingArguments(
        max_steps=trial["num_steps"],
        learning_rate=trial["base_lr"],
        lr_scheduler_type="constant",
        seed=trial["seed"],
        eval_strategy="steps",
        eval_steps=trial["num_steps"] // 4,
        ...
    )
    Trainer(model, arguments, ..., callbacks=[TrialCallback(folder, trial)]).train()
"""

import json
import math
import subprocess

from transformers import TrainerCallback


def asked(folder, worker):
    """The next trial of a jobs folder; None where there is none now."""
    answer = subprocess.run(["steepest", "ask", folder, "--worker", worker], capture_output=True, text=True)
    return json.loads(answer.stdout) if answer.returncode == 0 else None


class TrialCallback(TrainerCallback):
    """Runs a trial of a jobs folder; every evaluation is told, and the one after the last step ends it."""

    def __init__(self, folder, trial):
        self.folder, self.trial = folder, trial

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        for group in optimizer.param_groups:
            group["lr"] = self.trial["learning_rates"][state.global_step]

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        loss = metrics["eval_loss"]
        told = ["--diverged"]
        if math.isfinite(loss):
            told = [str(loss), "--step", str(state.global_step)]
            if state.global_step < state.max_steps:
                told.append("--replace")  # what an attempt that was cut short had told
        subprocess.run(["steepest", "tell", self.folder, self.trial["id"], *told], check=True)
        control.should_training_stop |= not math.isfinite(loss)
