"""What is no workload is told by the function that is wrong, before anything is compiled."""

import jax
import jax.numpy as jnp
import pytest

import workloads
from experiments.shape_search import STUDY, Config
from experiments.study.options.errors import StudyError
from workloads import Workload, contract_problems, fingerprint

SOUND = Workload(
    data=jnp.arange(6.0),
    init=lambda key: jnp.zeros(()),
    indices=lambda key, batch_size, num_steps: jax.random.randint(key, (num_steps, batch_size), 0, 6),
    batch=lambda data, indices: data[indices],
    loss=lambda params, batch, key: jnp.mean((batch - params) ** 2),
    evaluate=lambda params, data: {"train_loss": jnp.mean((data - params) ** 2)},
)
BROKEN = {
    "the metric 'train_loss' must be a real scalar, got float32 of shape (1,).": {
        "evaluate": lambda params, data: {"train_loss": jnp.mean(data, keepdims=True)}
    },
    "the metric 'right' must be a real scalar, got int32 of shape ().": {
        "evaluate": lambda params, data: {"train_loss": jnp.mean(data), "right": jnp.argmax(data)}
    },
    "loss must be a real scalar, got float32 of shape (3,).": {
        "loss": lambda params, batch, key: batch - params
    },
    "evaluate must return scalars by name, got ": {"evaluate": lambda params, data: jnp.mean(data)},
    "evaluate must return scalars by name, got {}": {"evaluate": lambda params, data: {}},
    "indices must be whole numbers of shape (1, 3), got float32 of shape (1, 3).": {
        "indices": lambda key, batch_size, num_steps: jnp.ones((num_steps, batch_size))
    },
    "indices must be whole numbers of shape (1, 3), got int32 of shape (3, 1).": {
        "indices": lambda key, batch_size, num_steps: jnp.ones((batch_size, num_steps), jnp.int32)
    },
    "batch: KeyError: 'x'": {"batch": lambda data, indices: {}["x"]},
    "init: TypeError: ": {"init": lambda: jnp.zeros(())},
}


def test_a_workload_has_no_problems():
    assert contract_problems(SOUND, 3) == []
    for name in ("linear_regression", "digits"):
        assert contract_problems(workloads.load(name), 3) == []


@pytest.mark.parametrize(("message", "changes"), BROKEN.items())
def test_what_is_wrong_is_named(message, changes):
    (problem,) = contract_problems(SOUND._replace(**changes), 3)
    assert problem.startswith(message)


@pytest.mark.parametrize(("message", "changes"), list(BROKEN.items())[:4])
def test_a_study_of_no_workload_ends_before_anything_is_trained(
    message, changes, tmp_path, tiny_search, monkeypatch
):
    monkeypatch.setattr(workloads, "sweep", lambda *a, **k: pytest.fail("a run was trained"))
    with pytest.raises(StudyError) as error:
        STUDY.run(tiny_search, tmp_path / "study", SOUND._replace(**changes))
    assert f"workload: {message}" in str(error.value)
    assert not (tmp_path / "study").exists()


@pytest.fixture
def tiny_search():
    return Config(workload="own", metric="train_loss", batch_size=3)


def test_a_fingerprint_is_of_bits_of_the_data_and_of_values_of_the_functions():
    """The loss of an example x at zero is x², the metric the mean square of the data: 55 / 6."""
    found = fingerprint(SOUND)
    assert found["loss"] in {float(x) ** 2 for x in range(6)}
    assert found["metrics"] == pytest.approx({"train_loss": 55 / 6}, rel=1e-6)
    other = fingerprint(SOUND._replace(data=SOUND.data.at[2].add(1e-6)))
    assert other["data"] != found["data"] == fingerprint(SOUND)["data"]
    assert fingerprint(SOUND._replace(data=SOUND.data.reshape(2, 3).T.ravel()))["data"] != found["data"]
