"""``sagemaker-sift pilot``, with the real programs that it starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sagemaker_sift.cli import pilot as command
from sagemaker_sift.cli.main import main
from tests.supports.trainer_data import TINY, fill_channel

JOB = [
    option
    for name in ("num_layers", "image_shape", "mini_batch_size")
    for option in ("-p", f"{name}={TINY[name]}")
]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return fill_channel(tmp_path / "train")


def test_the_bundled_trainer_is_measured_with_the_jobs_own_settings(
    train: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in tmp_path.rglob("*"))
    options = ["-p", "beta_value=2.5", "--num-batches=2", "--json", "--beta=0.5"]
    options += ["--scoring=plain"]
    assert main(["pilot", "--train", str(train), *JOB, *options]) == 0
    shown = capfd.readouterr()
    report = json.loads(shown.out)
    assert (report["batch_size"], report["num_batches"], report["num_threads"]) == (8, 1, 1)
    assert report["num_warmup"] == 3  # four batches are all there are
    assert report["beta_value"] == 2.5
    assert [row["beta"] for row in report["rows"]] == [0.5, 2.5]
    assert report["stages"]["step"]["median_s"] > 0
    assert report["stages"]["load"]["median_s"] > 0
    assert shown.err == ""
    assert report["scoring_method"] == "plain"
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_the_verdict_of_the_jobs_own_beta_comes_first(
    train: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = [*JOB, "-p", "beta_value=2.5", "-p", "early_stopping=True", "--num-batches=1"]
    job += ["-p", "scoring=last_visit"]
    assert main(["pilot", "--train", str(train), *job]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert any(line.startswith("The job has scoring=last_visit: only images") for line in lines)
    verdicts = [line for line in lines if line.startswith("beta_value=")]
    assert verdicts[0].startswith("beta_value=2.5 ")


def test_without_images_the_quickstarts_job_is_measured(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch.py").write_text("raise RuntimeError('a file of the user')\n")
    assert main(["pilot", "-p", "num_layers=20", "--num-batches=1", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["batch_size"], report["beta_value"]) == (32, 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["torch.py"]


def test_a_function_of_the_users_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "training.py"
    script.write_text(
        "import torch\n"
        "class Squares:\n"
        "    def loss(self, model, transformed_batch, original_batch):\n"
        "        return model(original_batch) ** 2\n"
        "def make_pilot():\n"
        "    model = torch.nn.Linear(2, 1)\n"
        "    batches = [torch.rand(5, 2)] * 9\n"
        "    return dict(model=model, loss_impl=Squares(), orig_dataloader=batches)\n"
        "def make_mistake():\n"
        "    raise KeyError('own error')\n"
    )
    options = ["--json", "--num-batches", "2", "--beta", "4"]
    assert main(["pilot", f"{script}:make_pilot", *options]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["batch_size"], report["num_batches"]) == (5, 2)
    assert [row["beta"] for row in report["rows"]] == [4.0]
    assert main(["pilot", f"{script}:make_mistake"]) == 1
    shown = capfd.readouterr()
    assert shown.err == (
        f"error: {script}:make_mistake failed: {script}, line 10, in make_mistake: "
        "KeyError: 'own error'\n"
    )


def test_every_wrong_hyperparameter_is_told_at_once(
    train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["-p", "epochs=0", "-p", "bta_value=1"]
    assert main(["pilot", "--train", str(train), *wrong]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: 2 things are wrong:")
    assert "`epochs` is '0', but must be an integer, 1 or more." in error
    assert "Did you mean 'beta_value'?" in error


def test_what_only_the_images_tell_is_told_by_the_trainer(
    train: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["pilot", "--train", str(train), *JOB, "-p", "image_shape=3,64,64"]) == 1
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("target", [[], ["train.py:make_pilot"], ["--train", "/nowhere"]])
@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--beta", "-1", "a positive and finite number"),
        ("--beta", "nan", "a positive and finite number"),
        ("--beta", "half", "a positive and finite number"),
        ("--num-batches", "0", "a whole number, 1 or more"),
        ("--num-batches", "2.5", "a whole number, 1 or more"),
        ("--scoring", "best", "plain or fresh"),
        ("--scoring", "last_visit", "plain or fresh: losses of the last visit take no scoring"),
    ],
)
def test_an_option_out_of_range_is_named_before_anything_else(
    target: list[str], option: str, value: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["pilot", *target, option, value])
    assert stopped.value.code == 2
    assert f"argument {option}: is '{value}', but must be {rule}" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pilot", "--train", "/nowhere", *JOB]) == 1
    assert "'/nowhere'" in capsys.readouterr().err


def test_a_function_and_images_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["pilot", "train.py:make_pilot", "-p", "epochs=1"])
    assert stopped.value.code == 2
    assert "give either it, or --train and -p" in capsys.readouterr().err


def test_without_torch_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert main(["pilot"]) == 1
    assert "pip install 'sagemaker-sift[local]'" in capsys.readouterr().err
