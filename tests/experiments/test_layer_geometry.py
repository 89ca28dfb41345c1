"""A small study of layer geometry: its measurements against plain code, its claims, its errors."""

import json
import shutil
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
import workloads
from experiments.layer_geometry import PRESETS, main
from tests.experiments.estimates import ends
from tests.experiments.journals import forget_runs
from tests.experiments.small_study import SmallStudy

STEPS, BATCH, PARTS = 8, 32, 4
OPTIONS = {
    "--workload-options": ["model", "mlp"],
    "--num-steps": [STEPS],
    "--batch-size": [BATCH],
    "--parts": [PARTS],
    "--probe-every": [2],
    "--curvature-batches": [2],
    "--replicates": [2],
    "--index-every": [2],
    "--first-rates": [3],
    "--more-rates": [0],
    "--decays": [0.0],
    "--screen-replicates": [1],
    "--confirm-replicates": [3],
}
LAYERS = {"Dense_0": (64, 128), "head": (128, 10)}


STUDY = SmallStudy(main, OPTIONS)
called, options = STUDY.called, STUDY.options


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return STUDY.finish(tmp_path_factory.mktemp("layers") / "study")


@pytest.fixture(scope="module")
def replayed():
    """The first measured run again: its parameters before every step, and the step's part gradients."""
    workload = workloads.load("digits", model="mlp")
    key = jax.random.fold_in(jax.random.key(0), zlib.crc32(b"measure"))
    init, data, *_ = jax.random.split(jax.random.fold_in(key, 0), 4)
    x = np.arange(STEPS) / STEPS
    rates = 0.04 * jnp.asarray(np.minimum(x / 0.1, (1 - x) / 0.9), jnp.float32)
    decay = 1e-3 / 0.04
    tx = optim.muon(lambda count: rates[count], scale="rms", weight_decay=decay, fallback_weight_decay=decay)
    params = workload.init(init)
    state = tx.init(params)
    weights, gradients = [params], []
    for rows in workload.indices(data, BATCH, STEPS):
        images, labels = workload.batch(workload.data, rows)
        parts = [
            jax.grad(workload.loss)(params, (i, label), init)
            for i, label in zip(jnp.split(images, PARTS), jnp.split(labels, PARTS), strict=True)
        ]
        gradients.append(jax.tree.map(lambda *g: np.stack(g).astype(np.float64), *parts))
        mean = jax.tree.map(lambda *g: sum(g) / PARTS, *parts)
        updates, state = tx.update(mean, state, params)
        params = optax.apply_updates(params, updates)
        weights.append(params)
    return weights, gradients


def kernel(tree, layer):
    return np.asarray(tree["params"][layer]["kernel"], np.float64)


def nuclear_norm(matrix):
    return np.linalg.svd(matrix, compute_uv=False).sum()


@pytest.mark.parametrize("layer", LAYERS)
def test_noise_and_path_are_those_of_a_plain_loop(finished, replayed, journal_rows, layer):
    weights, gradients = replayed
    measured = journal_rows(finished[0])["measure", "muon", 0, 0, 0]["metrics"]
    end = kernel(weights[-1], layer)
    for step in range(2, STEPS, 2):  # the learning rate of step 0 is zero
        parts = kernel(gradients[step], layer)
        mean = parts.mean(axis=0)
        variance = BATCH / PARTS * parts.var(axis=0, ddof=1)
        deviations = parts - mean
        short = deviations.mT if mean.shape[0] > mean.shape[1] else deviations
        covariance = BATCH / (PARTS * (PARTS - 1)) * sum(d @ d.T for d in short)
        root = np.sqrt(np.clip(np.linalg.eigvalsh(covariance), 0, None)).sum()
        way = kernel(weights[step], layer) - end
        cosine = np.sum(mean * way) / np.linalg.norm(mean) / np.linalg.norm(way)
        expected = {
            "noise_euclidean": variance.sum() / np.sum(mean**2),
            "noise_sign": (np.sqrt(variance).sum() / np.abs(mean).sum()) ** 2,
            "noise_spectral": (root / nuclear_norm(mean)) ** 2,
            "cosine": cosine,
            "eb": np.linalg.norm(mean) / np.linalg.norm(way),
            "rsi": cosine * np.linalg.norm(mean) / np.linalg.norm(way),
            "norm": np.linalg.norm(kernel(weights[step], layer), 2),
        }
        for quantity, value in expected.items():
            found = measured[f"{layer}:{quantity}@{step}"]
            # float32 training, amplified by some steps of muon
            assert found == pytest.approx(value, rel=2e-2, abs=2e-3), quantity


def test_the_index_is_made_of_the_noise_scales_and_the_leafs_shape(finished, replayed, journal_rows):
    measured = journal_rows(finished[0])["measure", "muon", 0, 0, 0]["metrics"]
    decided = 0
    for layer, shape in LAYERS.items():
        for step in range(2, STEPS, 2):
            mean = kernel(replayed[1][step], layer).mean(axis=0)
            ratio = nuclear_norm(mean) / np.abs(mean).sum()
            sure = [
                max(0.0, 1 - np.sqrt(measured[f"{layer}:noise_{one}@{step}"] / BATCH))
                for one in ("spectral", "sign")
            ]
            found = measured[f"{layer}:index@{step}"]
            if min(sure) > 0.05:  # nearer to zero, rounding decides
                decided += 1
                expected = 2 * np.log(ratio * sure[0] / sure[1]) + np.log(max(shape))
                assert found == pytest.approx(expected, abs=0.3)
            elif max(sure) == 0:
                assert found == 0
            assert -10 <= found <= 10
    assert decided >= 1


def test_sign_and_spectral_descent_are_what_optim_makes_of_them(finished, journal_rows):
    """The runs that never choose, against signum and muon with the same kinds of leaves."""
    workload = workloads.load("digits", model="mlp")
    rows = journal_rows(finished[0])
    x = np.arange(STEPS) / STEPS
    shape = jnp.asarray(np.minimum(x / 0.1, (1 - x) / 0.9), jnp.float32)
    everything = optim.Routing(
        lambda path, shape: (
            optim.by_name(path, shape)._replace(kind="hidden") if len(shape) == 2 else optim.Route("other")
        )
    )
    for way in ("spectral only", "sign only"):
        identity = ("confirm", way, 0)
        row = next(row for name, row in rows.items() if name[:3] == identity and name[4] == 0)
        peak = row["base_lr"]
        key = jax.random.fold_in(jax.random.key(0), zlib.crc32(b"confirm"))

        def build(schedule, way=way):
            if way == "spectral only":
                return optim.muon(schedule, scale="rms", routing=everything)
            sign = optax.chain(
                optim.scale_by_momentum(0.95, nesterov=True), optax.scale_by_sign(), optax.scale(0.2)
            )
            return optim.routed(
                optax.chain(sign, optax.scale_by_learning_rate(schedule)), optax.adam(schedule), everything
            )

        run = workloads.train(
            workload,
            workload.data,
            build,
            peak * shape,
            workloads.run_keys(jax.random.fold_in(key, 0)),
            batch_size=BATCH,
            parts=PARTS,
        )
        assert row["score"] == pytest.approx(float(run.metrics["train_loss"][-1]), rel=2e-3)
        used = {row["metrics"][f"{layer}:spectral@{step}"] for layer in LAYERS for step in range(0, STEPS, 2)}
        assert used == {float(way == "spectral only")}


def test_the_choice_follows_the_index_and_may_turn_back(finished, journal_rows):
    rows = [row["metrics"] for name, row in journal_rows(finished[0]).items() if name[1] == "by the index"]
    start = {row[f"{layer}:spectral@0"] for row in rows for layer in LAYERS}
    looks = [f"{layer}:spectral@{step}" for layer in LAYERS for step in range(2, STEPS, 2)]
    later = {row[look] for row in rows for look in looks}
    assert start == {1.0}
    assert later == {0.0, 1.0}


def test_every_claim_says_what_was_measured_and_whether_it_held(finished, journal_rows):
    folder, output = finished
    content = json.loads((folder / "winners.json").read_text())
    claims = {(claim["statement"], claim["subject"]): claim for claim in content["claims"]}
    runs = [journal_rows(folder)["measure", "muon", 0, 0, r]["metrics"] for r in range(2)]
    shares = [
        np.mean([run[f"{layer}:cosine@{step}"] > 0 for layer in LAYERS for step in range(0, STEPS, 2)])
        for run in runs
    ]
    positive = claims["γ > 0: share", "all layers"]
    assert positive["effect"]["value"] == pytest.approx(np.median(shares))
    assert positive["held"] == (ends(positive["effect"])[0] > 0.95)
    rows = journal_rows(folder)
    medians = [
        np.median([row["score"] for name, row in rows.items() if name[:2] == ("confirm", way)])
        for way in ("by the index", "sign only")
    ]
    change = claims["change of train_loss by choosing", "against sign only"]
    assert change["effect"]["value"] == pytest.approx(medians[0] / medians[1] - 1)
    assert change["held"] == (ends(change["effect"])[1] < 0)
    report = (folder / "report.html").read_text()
    for claim in content["claims"]:
        assert f"{claim['effect']['value']:.3g} [" in report
        assert claim["statement"] in output
    assert report.count("data:image/png;base64,") == 5


def test_a_study_that_lost_runs_resumes_and_is_drawn_again(finished, journal_rows, tmp_path, monkeypatch):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    assert forget_runs(copy, "family = 'sign only' AND stage = 'confirm'")
    status, output = called("report", copy)
    assert status == 2
    assert "is not finished" in output
    assert called(*options(), "--folder", copy)[0] == 0
    assert journal_rows(copy) == journal_rows(finished[0])
    monkeypatch.setattr(workloads.LongSweep, "whole", lambda *a: pytest.fail("a run was trained"))
    (copy / "winners.json").unlink()
    status, output = called("report", copy)
    assert status == 0
    assert (copy / "winners.json").read_bytes() == (finished[0] / "winners.json").read_bytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parts": [1]}, ["parts", "1"]),
        ({"parts": [5]}, ["parts", "batch_size=32", "5"]),
        ({"probe_every": [4]}, ["probe_every", "4 probed steps", "num_steps=8"]),
        ({"replicates": [1]}, ["replicates", "2", "1"]),
        ({"tau": [-1]}, ["tau", "-1"]),
        ({"learning_rate": [0]}, ["learning_rate", "positive"]),
        ({"curvature_batches": [100]}, ["batch_size", "1437", "3200"]),
        ({"metric": ["test_los"]}, ["metric", "test_loss"]),
        ({"first_rates": [2]}, ["first_rates", "3", "2"]),
    ],
)
def test_bad_options_are_messages_and_nothing_is_trained(changes, words, tmp_path, monkeypatch):
    monkeypatch.setattr(workloads.LongSweep, "whole", lambda *a: pytest.fail("a run was trained"))
    status, output = called(*options(**changes), "--folder", tmp_path / "study")
    assert status == 2
    assert all(word in output for word in words), output


def test_the_presets_are_a_convolutional_network_and_a_transformer():
    assert PRESETS["digits"].workload_options == {"model": "cnn"}
    assert PRESETS["transformer"].workload == "shakespeare"
