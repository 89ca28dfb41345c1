"""A schedule from a file: what is read, and how what is not one is told."""

import numpy as np
import pytest

from experiments.shape_search import STUDY
from experiments.shape_search.schedule_file import read_schedule
from experiments.study.options.errors import StudyError
from tests.experiments.small_study import call, unwrapped

RATES = [0.0, 0.25, 1e-3, 2.0]


@pytest.mark.parametrize(
    "text",
    [
        "0\n0.25\n1e-3\n2\n",
        "learning_rate\n0.0\n0.25\n0.001\n2.0",
        "0,0\n1,0.25\n2,1e-3\n3,2\n",
        "step,learning_rate\r\n0,0\r\n1,0.25\r\n2,1e-3\r\n3,2\r\n",
        '\ufeffstep, "lr"\n0, 0\n\n1, .25\n2.0, 1e-3\n3, 2\n\n',
    ],
    ids=["rates", "under a heading", "with steps", "as from a spreadsheet", "with blanks"],
)
def test_the_learning_rate_of_every_step_is_read(tmp_path, text):
    path = tmp_path / "schedule.csv"
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(read_schedule(path, 4), RATES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0\n0.25\n1e-3\n", "must have the learning rates of 4 steps, got 3"),
        ("0\n0.25\n1e-3\n2\n3\n", "must have the learning rates of 4 steps, got 5"),
        ("", "must have the learning rates of 4 steps, got 0"),
        ("rate\n", "must have the learning rates of 4 steps, got 0"),
        ("0\n-0.25\n1e-3\n2\n", "line 2: a learning rate must be finite and not negative, got '-0.25'"),
        ("rate\n0\nnan\n1e-3\n2\n", "line 3: a learning rate must be finite and not negative, got 'nan'"),
        ("0\n0.25\n1e-3\ninf\n", "line 4: a learning rate must be finite and not negative, got 'inf'"),
        ("0\n\nhigh\n1e-3\n2\n", "line 3: a learning rate must be finite and not negative, got 'high'"),
        ("0,0\n1,0.25\n1e-3\n3,2\n", "line 3: must have 2 columns as the first line has, got 1"),
        ("0\n0.25\n2,1e-3\n2\n", "line 3: must have 1 columns as the first line has, got 2"),
        ("0,0\n1,0.25\n3,1e-3\n2,2\n", "line 3: must be step 2, got '3'"),
        ("1,0\n2,0.25\n3,1e-3\n4,2\n", "line 1: must be step 0, got '1'"),
        ("0,0,0.25,1e-3\n", "line 1: must be a learning rate, or a step and a learning rate, got 4 columns"),
        (b"\xff\xfe0\n", "cannot be read as a table"),
        (b"\x000\n1\n", "schedule.csv"),
        (None, "cannot be read as a table: No such file or directory"),
    ],
)
def test_what_is_no_schedule_is_told_with_its_line(tmp_path, text, told):
    path = tmp_path / "schedule.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StudyError) as error:
        read_schedule(path, 4)
    assert str(error.value).startswith(str(path))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "schedule, family: needs one of the two."),
        ("--schedule a.csv --family rex --base-lr 1", "schedule, family: needs one of the two."),
        ("--schedule a.csv --base-lr 1", "params, base_lr: a family has them, and not a file."),
        ("--family rx --base-lr 1", "family: there is no 'rx'; did you mean 'rex'?"),
        ("--family rex --params warmup=0.1 beta=1", "base_lr: a family needs it."),
        ("--family rex --params warmup=0.1 beta=1 --base-lr 0", "base_lr: must be positive, got 0.0"),
        ("--family rex --params warmup=0.1 beta=1 --base-lr nan", "base_lr: must be positive, got nan"),
        ("--family rex --params warmup=0.1 --base-lr 1", "params: rex: missing parameter 'beta'"),
        ("--family rex --params warmup=0.1 bet=1 --base-lr 1", "params: rex: unknown parameter 'bet'"),
        ("--family rex --params warmup=2 beta=1 --base-lr 1", "params: rex: warmup must be in"),
        ("--family rex --params warmup=a beta=1 --base-lr 1", "params: warmup must be a number, got 'a'"),
        ("--family rex --params warmup 0.1 --base-lr 1", "the option takes NAME=VALUE"),
        ("--family rex --params warmup=0 warmup=1 --base-lr 1", "each NAME is given once"),
        ("--family rex --family wsd --base-lr 1", "family: typed 2 times."),
        ("--no-such-option 1", "no-such-option"),
        ("--family constant --params warmup=0 --base-lr 1", "/dev/null/nowhere"),
    ],
)
def test_what_is_wrong_with_the_question_is_told(words, told):
    status, output = call(STUDY.main, "predict", "/dev/null/nowhere", *words.split())
    assert status == 2
    assert told in unwrapped(output)
