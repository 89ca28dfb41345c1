"""The schedules that trainers have themselves: the nearest is found, and its deviation is the stated one."""

import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import export
from experiments.export.levanter import levanter_yaml
from experiments.export.maxtext import maxtext_yaml
from experiments.export.megatron import megatron_arguments
from experiments.export.native import fraction
from schedules import FAMILIES
from tests.experiments.small_study import call
from tests.experiments.trainers import levanter_rates, maxtext_rates, megatron_rates
from tests.experiments.winners import MIDDLE, entry, winners_folder

TRAINERS = {
    "levanter": (levanter_yaml, levanter_rates),
    "maxtext": (maxtext_yaml, maxtext_rates),
    "megatron": (megatron_arguments, megatron_rates),
}
LEVANTER = "trainer:\n  num_train_steps: 40\noptimizer:\n  learning_rate: 0.3\n  warmup: 0.151\n"
MAXTEXT = "steps: 40\nlearning_rate_schedule_steps: 40\nlearning_rate: 0.3\nwarmup_steps_fraction: 0.151\n"
MEGATRON = "LEARNING_RATE_ARGS=(\n --train-iters 40 --lr 0.3 --lr-warmup-iters 6"


def stated(text):
    """The deviation in the second line: relative L2, and the largest relative to the peak."""
    found = re.fullmatch(
        r"# \S+ nearest schedule: relative L2 (\S+) %, largest (\S+) % of the peak", text.splitlines()[1]
    )
    return [float(number) / 100 for number in found.groups()]


def measured(rates, wanted):
    difference = np.subtract(rates, wanted)
    return [
        np.sqrt(np.sum(difference**2) / np.sum(np.square(wanted))),
        np.max(np.abs(difference)) / np.max(wanted),
    ]


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("name", ["sqrt", "smooth_nonmonotonic", "knots"])
def test_the_stated_deviation_is_that_of_the_printed_options(tmp_path, trainer, name):
    folder = winners_folder(tmp_path / "study", entry(name), num_steps=50)
    status, text = call(export.main, folder, "--as", trainer)
    assert status == 0
    wanted = 0.03 * np.asarray(FAMILIES[name].multipliers(MIDDLE[name], 50), float)
    rates = TRAINERS[trainer][1](text)
    assert len(rates) == 50
    assert sum(map(float, re.findall(r"steps_fraction: (\S+)", text))) <= 1.0  # or MaxText refuses them
    np.testing.assert_allclose(stated(text), measured(rates, wanted), rtol=0.01, atol=2e-6)


@pytest.mark.parametrize(
    ("trainer", "text"),
    [
        *(
            ("levanter", f"{LEVANTER}  lr_schedule: {style}\n  min_lr_ratio: {least}\n{decay}")
            for (style, least), decay in itertools.product(
                {"linear": 0.1, "cosine": 0.0, "{type: polynomial, power: 0.5}": 0.25}.items(),
                ("  decay: 0.4\n", ""),
            )
        ),
        ("levanter", f"{LEVANTER}  lr_schedule: constant\n"),
        ("levanter", f"{LEVANTER}  lr_schedule: {{type: inv_sqrt, timescale: 9}}\n  min_lr_ratio: 0.0"),
        ("maxtext", f"{MAXTEXT}learning_rate_final_fraction: 0.2\nlr_schedule_type: cosine\n"),
        *(
            (
                "maxtext",
                f"{MAXTEXT}learning_rate_final_fraction: 0.2\nlr_schedule_type: wsd\n"
                f"wsd_decay_style: {style}\nwsd_decay_steps_fraction: {decay}\n",
            )
            for style, decay in itertools.product(("linear", "cosine"), (0.5, 0.849))
        ),
        *(
            ("megatron", f"{MEGATRON} --lr-warmup-init {start} --min-lr {least} --lr-decay-style {style} )")
            for start, least, style in [
                (0.1, 0.0, "constant"),
                (0.1, 0.0, "inverse-square-root"),
                (0.0, 0.05, "linear"),
                (0.1, 0.05, "cosine --lr-decay-iters 30"),
                *(
                    (0.0, 0.02, f"WSD --lr-wsd-decay-style {style} --lr-wsd-decay-iters 15")
                    for style in ("linear", "cosine", "exponential", "minus_sqrt")
                ),
            ]
        ),
    ],
)
def test_a_schedule_that_the_trainer_has_is_found(trainer, text):
    write, read = TRAINERS[trainer]
    wanted = np.array(read(text))
    found = write(SimpleNamespace(origin="", learning_rates=wanted))
    assert max(stated(found)) < 1e-5
    np.testing.assert_allclose(read(found), wanted, atol=1e-5 * wanted.max())


TWO_VALLEYS = {f"level_{knot}": level for knot, level in enumerate([1, 0.2, 0.9, 0.9, 0.9, 0.9, 0.2, 0.9])}


@pytest.mark.parametrize(
    ("name", "params", "num_steps"), [("rex", MIDDLE["rex"], 14), ("free", TWO_VALLEYS, 24)]
)
def test_no_other_schedule_of_maxtext_is_nearer(name, params, num_steps):
    """Among all whole numbers of steps, each with its best rates."""
    wanted = np.asarray(FAMILIES[name].multipliers(params, num_steps), float)

    def rates(warmup, kind, final):
        return maxtext_rates(
            f"steps: {num_steps}\nlearning_rate_schedule_steps: {num_steps}\nlearning_rate: 1\n"
            f"warmup_steps_fraction: {(warmup + 0.25) / num_steps}\n"
            f"learning_rate_final_fraction: {final}\n{kind}"
        )

    def least(warmup, kind):
        """By the two parts: the best of both where none is negative, and of each alone."""
        whole, fallen = (np.array(rates(warmup, kind, final)) for final in (1, 0))
        amplitudes, *_ = np.linalg.lstsq(np.stack([whole, fallen], 1), wanted)
        single = [part * (part @ wanted) / (part @ part) for part in (whole, fallen)]
        fits = [*single, *([amplitudes @ [whole, fallen]] if min(amplitudes) >= 0 else [])]
        return min(np.linalg.norm(fit - wanted) for fit in fits)

    kinds = ["lr_schedule_type: cosine"] + [
        f"lr_schedule_type: wsd\nwsd_decay_style: {style}\n"
        f"wsd_decay_steps_fraction: {(decay + 0.25) / num_steps}"
        for style in ("linear", "cosine")
        for decay in range(1, num_steps)
    ]
    best = min(
        least(warmup, kind)
        for warmup in range(num_steps)
        for kind in kinds
        if "wsd" not in kind or warmup + int(float(kind.split()[-1]) * num_steps) <= num_steps
    )
    text = maxtext_yaml(SimpleNamespace(origin="", learning_rates=wanted))
    assert measured(maxtext_rates(text), wanted)[0] <= best / np.linalg.norm(wanted) + 1e-5


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("wanted", [[0.0], [0.2], [0.0, 0.2], [0.1, 0.3, 0.2]])
def test_a_few_steps_are_enough(trainer, wanted):
    write, read = TRAINERS[trainer]
    rates = read(write(SimpleNamespace(origin="", learning_rates=np.array(wanted))))
    assert np.max(np.abs(np.subtract(rates, wanted))) < 0.15


@pytest.mark.parametrize("num_steps", [1, 2, 29, 100, 4_096, 3 * 10**9])
def test_a_fraction_of_the_steps_is_the_number_that_was_meant(num_steps):
    for count in {0, 1, *range(0, num_steps, max(1, num_steps // 50)), num_steps - 1, num_steps}:
        assert int(fraction(count, num_steps) * num_steps) == count
        assert fraction(count, num_steps) + fraction(num_steps - count, num_steps) <= 1.0
