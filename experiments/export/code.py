"""A schedule as Python code, exact: its family for optax, its table for PyTorch."""

from experiments.export.schedule import Schedule
from experiments.studies import QUESTIONS, load
from experiments.study.storage.folder import STUDY, read_config
from experiments.study.training.optimized import Optimized
from experiments.study.training.optimizers import Chain, call
from schedules.winners import LoadedWinner

IN_A_LINE = 8  # entries of a table


def optax_code(schedule: Schedule) -> str:
    """The schedule by its family, and the optimizer that it drove where the study says which."""
    family, params = schedule.winner.family, schedule.winner.params
    options = ", ".join(f"{name}={value!r}" for name, value in family.options.items())
    optimizer = _optimizer_code(schedule)
    packages = [name for name in ("optax", "optim") if f"{name}." in "".join(optimizer)]
    return "\n".join(
        [
            f"# {schedule.origin}",
            *(f"import {name}" for name in [*packages, "schedules"]),
            "",
            f"family = schedules.FAMILIES[{family.name!r}]"
            + (f".with_options({options})" if options else ""),
            f"params = {dict(params)!r}",
            _schedule_code("schedule", "params", schedule.winner),
            *optimizer,
        ]
    )


def torch_code(schedule: Schedule) -> str:
    """A LambdaLR over the table of multipliers.

    Source: torch.optim.lr_scheduler.LambdaLR, the initial learning rate of each parameter group times the
    function's value at the number of its steps so far.
    """
    return "\n".join(
        [
            *_table_code(schedule, "from torch.optim.lr_scheduler import LambdaLR"),
            "def scheduler(optimizer):",
            '    """For an optimizer made with lr=base_lr; its step() follows each optimizer.step()."""',
            "    return LambdaLR(optimizer, multiplier)",
        ]
    )


def transformers_code(schedule: Schedule) -> str:
    """A Trainer of Hugging Face's whose scheduler is a LambdaLR over the table of multipliers.

    Source: transformers.Trainer.create_scheduler, which its `train` calls before the first step.
    """
    imports = "import transformers", "from torch.optim.lr_scheduler import LambdaLR"
    return "\n".join(
        [
            *_table_code(schedule, *imports),
            "class ScheduledTrainer(transformers.Trainer):",
            '    """With TrainingArguments(learning_rate=base_lr, max_steps=len(multipliers))."""',
            "",
            "    def create_scheduler(self, num_training_steps, optimizer=None):",
            "        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, multiplier)",
            "        return self.lr_scheduler",
        ]
    )


def _optimizer_code(schedule: Schedule) -> list[str]:
    """The lines that define the optimizer of the study with its clipping, under the schedules of groups of
    parameters and what it asks of a training loop; none where the folder names no study that has one."""
    folder = schedule.folder
    content = read_config(folder) if folder.config.exists() else {}
    if content.get(STUDY) not in QUESTIONS:
        return []
    config = load(content[STUDY]).config_of(content, folder)
    if not isinstance(config, Optimized):
        return []
    clipping = [call("optax.clip_by_global_norm", max_norm=config.clip_norm)] if config.clip_norm else []
    asked = config.driven.asks
    return [
        *(
            _schedule_code(group, repr(dict(winner.params)), winner)
            for group, winner in schedule.winner.groups.items()
        ),
        *([f"# {asked}"] if asked else []),
        f"optimizer = {Chain((*clipping, *config.chain.calls))}",
    ]


def _schedule_code(name: str, params: str, winner: LoadedWinner) -> str:
    """The line that defines the winner's schedule; `params` is what its parameters are called there."""
    return f"{name} = family.schedule({params}, base_lr={winner.base_lr!r}, num_steps={winner.num_steps})"


def _table_code(schedule: Schedule, *imports: str) -> list[str]:
    """The lines that define `base_lr`, `multipliers` and the function `multiplier` of a step."""
    entries = list(map(str, schedule.multipliers))
    return [
        f"# {schedule.origin}",
        *imports,
        "",
        f"base_lr = {schedule.winner.base_lr!r}",
        "multipliers = [",
        *(
            f"    {', '.join(entries[start : start + IN_A_LINE])},"
            for start in range(0, len(entries), IN_A_LINE)
        ),
        "]",
        "",
        "",
        "def multiplier(step):",
        "    return multipliers[min(step, len(multipliers) - 1)]",
        "",
        "",
    ]
