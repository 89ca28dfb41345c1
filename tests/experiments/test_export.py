"""`steepest export`: code that runs and tables, which agree on every learning rate."""

import json
import sys
from types import ModuleType, SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import experiments.__main__ as steepest
import optim
from experiments import export
from experiments.shape_search import STUDY, Config
from experiments.study.training.optimizers import OPTIMIZERS
from schedules import FAMILIES, load_winner
from tests.experiments.small_study import call
from tests.experiments.winners import entry, winners_folder

STEPS = np.arange(17)


def exported(folder, trainer, *words):
    status, output = call(export.main, folder, "--as", trainer, *words)
    assert status == 0, output
    return output


def csv_columns(text):
    comment, header, *rows = text.splitlines()
    assert (comment[:2], header) == ("# ", "step,multiplier,learning_rate")
    return np.array([[float(cell) for cell in row.split(",")] for row in rows]).T


class LambdaLR:
    """PyTorch's, as it is documented: each group's initial rate times the function of the steps so far."""

    def __init__(self, optimizer, lr_lambda):
        self.groups, self.multiplier, self.steps = optimizer.param_groups, lr_lambda, -1
        self.initial = [group["lr"] for group in self.groups]
        self.step()

    def step(self):
        self.steps += 1
        for group, initial in zip(self.groups, self.initial, strict=True):
            group["lr"] = initial * self.multiplier(self.steps)


class Trainer:
    """Hugging Face's, as far as it makes a scheduler."""

    optimizer = lr_scheduler = None


def executed(text):
    """What the code defines, with as much of PyTorch and of transformers as it needs."""
    scheduler, transformers = ModuleType("torch.optim.lr_scheduler"), ModuleType("transformers")
    scheduler.LambdaLR, transformers.Trainer = LambdaLR, Trainer
    packages = {name: ModuleType(name) for name in ("torch", "torch.optim")}
    modules = {**packages, scheduler.__name__: scheduler, transformers.__name__: transformers}
    defined = {}
    assert text.startswith("# ")
    with mock.patch.dict(sys.modules, modules):
        exec(text, defined)
    return defined


def followed(scheduler, optimizer, num_steps):
    """The rates of a training loop, a row a step."""
    rates = []
    for _ in range(num_steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        scheduler.step()
    return np.array(rates)


@pytest.mark.parametrize("name", FAMILIES)
def test_code_and_tables_have_the_rates_of_the_family(name, tmp_path):
    folder = winners_folder(tmp_path / "study", entry(name))
    steps, multipliers, rates = csv_columns(exported(folder, "csv"))
    np.testing.assert_array_equal(steps, STEPS)
    assert 0.5 < max(multipliers) <= 1
    np.testing.assert_allclose(rates, 0.03 * multipliers, rtol=1e-7)
    tables = json.loads(exported(folder, "json"))
    np.testing.assert_array_equal(tables["multipliers"], multipliers)
    np.testing.assert_array_equal(tables["learning_rates"], rates)
    schedule = executed(exported(folder, "optax"))["schedule"]
    np.testing.assert_allclose(schedule(STEPS), rates, rtol=1e-5, atol=1e-6 * max(rates))
    defined = executed(exported(folder, "torch"))
    np.testing.assert_array_equal(defined["multipliers"], multipliers)
    assert defined["base_lr"] == 0.03


def test_options_that_were_chosen_are_exported(tmp_path):
    """A cosine warm-up of 4 of 17 steps, then 1 - √ over the last half of the rest, against the formulas."""
    params = {"warmup": 4 / 17, "decay": 0.5, "floor": 0.0}
    chosen = entry("wsd", params, 1.0, warmup_form="cosine", decay_form="1-sqrt")
    folder = winners_folder(tmp_path / "study", chosen)
    x = STEPS / 17
    rising, u = (1 - np.cos(np.pi * STEPS / 4)) / 2, (x - 4 / 17) / (13 / 17)
    falling = np.where(u < 0.5, 1, 1 - np.sqrt(np.clip((u - 0.5) / 0.5, 0, 1)))
    expected = np.where(STEPS < 4, rising, falling)
    np.testing.assert_allclose(csv_columns(exported(folder, "csv"))[2], expected, atol=1e-6)
    np.testing.assert_allclose(
        executed(exported(folder, "optax"))["schedule"](STEPS), expected, rtol=1e-5, atol=1e-6
    )
    assert json.loads(exported(folder, "json"))["options"] == chosen["options"]


def test_a_loop_in_pytorch_follows_the_table_in_every_group_and_holds_its_end(tmp_path):
    folder = winners_folder(tmp_path / "study", entry("cosine_floor"))
    rates = csv_columns(exported(folder, "csv"))[2]
    defined = executed(exported(folder, "torch"))
    optimizer = SimpleNamespace(param_groups=[{"lr": defined["base_lr"]}, {"lr": 0.5 * defined["base_lr"]}])
    found = followed(defined["scheduler"](optimizer), optimizer, 20)
    expected = np.append(rates, 3 * [rates[-1]])
    np.testing.assert_allclose(found, expected[:, None] * [1, 0.5], rtol=1e-6)


@pytest.mark.parametrize("given", [False, True])
def test_a_trainer_of_transformers_follows_the_table(tmp_path, given):
    folder = winners_folder(tmp_path / "study", entry("rex"))
    defined = executed(exported(folder, "transformers"))
    optimizer = SimpleNamespace(param_groups=[{"lr": defined["base_lr"]}])
    trainer = defined["ScheduledTrainer"]()
    trainer.optimizer = None if given else optimizer
    scheduler = trainer.create_scheduler(17, *([optimizer] if given else []))
    assert trainer.lr_scheduler is scheduler
    rates = csv_columns(exported(folder, "csv"))[2]
    np.testing.assert_allclose(followed(scheduler, optimizer, 17)[:, 0], rates, rtol=1e-6)


def optax_of(tmp_path, **options):
    """What the code for optax defines, of a study with this config."""
    folder = winners_folder(tmp_path / "study", entry("linear"))
    config = Config(num_steps=17, **options)
    (folder / "config.json").write_text(json.dumps(STUDY.fields(config)))
    return executed(exported(folder, "optax")), config


INDEPENDENT = {"weight_decay": 0.1, "decay_mode": "independent"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"weight_decay": 0.1 * OPTIMIZERS[name].decays}) for name in OPTIMIZERS),
        ("adam", {"b1": 0.5, "b2": 0.75}),
        ("adamw", {"b1": 0.5, "weight_decay": 0.1}),
        ("adamw", {"b2": 0.75, **INDEPENDENT}),
        ("lion", {"b1": 0.5, "b2": 0.25, **INDEPENDENT}),
        ("momentum", INDEPENDENT),
        ("muon", INDEPENDENT),
    ],
)
def test_the_exported_optimizer_steps_as_the_study_s_does(name, options, tmp_path):
    defined, config = optax_of(tmp_path, optimizer=name, **options)
    params = {"w": jnp.asarray(np.array([[1.0, -2.0]], np.float32))}
    rows = np.array([[[0.5, 2.0]], [[-1.0, 0.25]], [[3.0, 1.0]]], np.float32)

    def three_steps(optimizer):
        optimizer = optax.with_extra_args_support(optimizer)

        def step(run, row):
            moved, state = run
            _, state = optim.sample(jax.random.key(0), state, moved)
            again = lambda point: jax.tree.map(lambda w: row + 9 * w, point)  # noqa: E731
            updates, state = optimizer.update({"w": row}, state, moved, grad_fn=again, max_logits={})
            return (optax.apply_updates(moved, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), rows)[0][0]["w"]

    optimizers = defined["optimizer"], config.transformation(defined["schedule"])
    exported_end, end = jax.jit(lambda: [three_steps(optimizer) for optimizer in optimizers])()
    np.testing.assert_array_equal(exported_end, end)
    assert np.all(end != params["w"])


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("asam", "takes grad_fn"),
        ("ivon", "optim.sample(key, state"),
        ("schedule_free", "optim.evaluation_params(state"),
    ],
)
def test_what_an_optimizer_asks_of_a_training_loop_stands_above_it(name, asked, tmp_path):
    folder = winners_folder(tmp_path / "study", entry("linear"))
    (folder / "config.json").write_text(json.dumps(STUDY.fields(Config(num_steps=17, optimizer=name))))
    *_, comment, optimizer = exported(folder, "optax").splitlines()
    assert comment.startswith("# ")
    assert asked in comment
    assert optimizer.startswith("optimizer = optim.")


def test_gradients_are_clipped_before_the_exported_optimizer_steps(tmp_path):
    """SGD on gradients of norm 1/2 and 5, of which the second is scaled down to 1; the first rate is 0."""
    defined, _ = optax_of(tmp_path, optimizer="sgd", clip_norm=1.0)
    state = defined["optimizer"].init(jnp.zeros(2))
    for step, (gradient, clipped) in enumerate([([0.3, 0.4], [0.3, 0.4]), ([3.0, 4.0], [0.6, 0.8])]):
        update, state = defined["optimizer"].update(jnp.array(gradient), state)
        expected = -float(defined["schedule"](step)) * np.array(clipped)
        np.testing.assert_allclose(update, expected, rtol=1e-6)


def place(name, change):
    found = {"value": change, "low": change - 0.01, "high": change + 0.01}
    return {**{key: entry(name)[key] for key in ("family", "params")}, "base_lr": 0.07, "change": found}


VERDICTS = {
    "challenger": {"challenger": place("knots", -0.1)},
    "own family": {"own_family": place("rex", -0.2), "free": place("free", -0.1)},
    "free": {"own_family": place("rex", -0.1), "free": place("free", -0.2)},
    "no free": {"own_family": place("wsd", -0.1), "free": None},
}
FOUND = {"challenger": "knots", "own family": "rex", "free": "free", "no free": "wsd"}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("improved", [True, False])
def test_what_improved_on_the_best_winner_is_exported_in_its_place(tmp_path, verdict, improved):
    best = entry("rex", near_optimality={"improved": improved, **VERDICTS[verdict]})
    folder = winners_folder(tmp_path / "study", best, entry("wsd", decay_form="cosine"))
    expected = FOUND[verdict] if improved else "rex"
    tables = json.loads(exported(folder, "json"))
    assert (tables["family"], tables["base_lr"]) == (expected, 0.07 if improved else 0.03)
    assert tables["options"].get("decay_form", "cosine") == "cosine"  # that of its family in this study
    assert ("challenger" in tables["origin"]) is improved
    assert exported(folder, "optax").startswith(f"# {tables['origin']}\n")
    winner = json.loads(exported(folder, "json", "--family", "rex"))
    assert (winner["family"], winner["base_lr"]) == ("rex", 0.03)


def test_any_winner_of_a_finished_study_is_exported_and_loads_as_it_was_found(finished):
    path = finished.folder / "winners.json"
    winners = json.loads(path.read_text())["winners"]
    assert json.loads(exported(finished.folder, "json"))["family"] == winners[0]["family"]
    assert "optimizer = optax.sgd(" in exported(finished.folder, "optax")
    assert load_winner(path).family.name == winners[0]["family"]
    for found in winners:
        winner = load_winner(path, found["family"])
        assert (winner.family.name, dict(winner.family.options)) == (found["family"], found["options"])
        assert (dict(winner.params), winner.base_lr, winner.num_steps) == (
            found["params"],
            found["base_lr"],
            20,
        )
        tables = json.loads(exported(finished.folder, "json", "--family", found["family"]))
        assert {key: tables[key] for key in ("family", "options", "params", "base_lr")} == {
            key: found[key] for key in ("family", "options", "params", "base_lr")
        }


def test_a_folder_s_name_is_no_code(tmp_path):
    folder = winners_folder(tmp_path / "a\nraise SystemExit", entry("linear"))
    assert executed(exported(folder, "optax"))["params"] == entry("linear")["params"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("study --as optx", "as: there is no 'optx'; did you mean 'optax'? Known: optax, torch,"),
        ("study --as torch --family rx", "no winner of family 'rx' among ['rex']; did you mean 'rex'?"),
        ("study --as torch --family linear", "no winner of family 'linear' among ['rex']."),
        ("unfinished --as csv", "unfinished is not finished: run the same study again."),
        ("empty --as csv", "empty holds no study: there is no config.json."),
        ("missing --as csv", "missing holds no study"),
        ("other --as csv", "not a winners.json of the format 'steepest winners 1'."),
        ("broken --as csv", "not a winners.json"),
        ("odd --as csv", "the verdict on the best winner cannot be read."),
        ("long --as csv", "num_steps is above 10,000,000"),
        ("study", "--as"),
        ("--as csv", "PATH"),
        ("study --as csv --as json", "as: typed 2 times"),
    ],
)
def test_what_is_wrong_is_told_with_status_2(tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    winners_folder(tmp_path / "study", entry("rex"))
    winners_folder(tmp_path / "long", entry("rex"), num_steps=10_000_001)
    winners_folder(tmp_path / "odd", entry("rex", near_optimality={"improved": True, "challenger": "knots"}))
    for name in ("empty", "unfinished", "other", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "unfinished" / "config.json").write_text("{}")
    (tmp_path / "other" / "winners.json").write_text('{"verdict": ""}')
    (tmp_path / "broken" / "winners.json").write_text("{")
    files = sorted(tmp_path.rglob("*"))
    status, output = call(steepest.main, "export", *words.split())
    assert status == 2
    assert told in " ".join(output.split())
    assert "Traceback" not in output
    assert sorted(tmp_path.rglob("*")) == files
