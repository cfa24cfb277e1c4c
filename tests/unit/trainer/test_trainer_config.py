import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.config import TrainingConfig, read_config
from sagemaker_sift.trainer.errors import TrainingError
from tests.supports.trainer_data import configure


@pytest.fixture
def root(tmp_path: Path) -> Path:
    configure(tmp_path)
    (tmp_path / "input/data/train/a").mkdir(parents=True)
    (tmp_path / "input/data/train/a/1.jpg").touch()
    return tmp_path


def read(root: Path, **environ: str) -> TrainingConfig:
    return read_config(ContainerPaths(root), environ)


def test_only_the_hyperparameters_and_the_train_channel_are_needed(root: Path) -> None:
    config = read(root)
    assert config.hyperparameters.mini_batch_size == 8
    assert config.num_threads is None
    assert config.num_cpus >= 1


@pytest.mark.parametrize(("text", "expected"), [("3", 3), ("", None), ("many", None), ("0", None)])
def test_the_number_of_threads_is_read(root: Path, text: str, expected: int | None) -> None:
    assert read(root, OMP_NUM_THREADS=text).num_threads == expected


def test_full_configuration_files_of_sagemaker_are_accepted(root: Path) -> None:
    write(root, "resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]})
    train = {"TrainingInputMode": "FastFile", "ContentType": "application/x-image; a=b"}
    write(root, "inputdataconfig", {"train": train})
    assert read(root).paths.root == root


def test_the_process_knows_its_place(root: Path) -> None:
    resources = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
    write(root, "resourceconfig", resources)
    config = read(root, SIFT_LOCAL_RANK="1", SIFT_PROCESSES_PER_HOST="2")
    placement = config.placement
    assert (placement.rank, placement.num_ranks, placement.num_hosts) == (3, 4, 2)
    assert placement.rendezvous == "tcp://algo-1:29511"
    assert config.decoded_budget_bytes == read(root).decoded_budget_bytes // 2


def write(root: Path, name: str, value: Any) -> None:
    (root / f"input/config/{name}.json").write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hyperparameters", [], "holds no JSON object"),
        ("hyperparameters", {"epochs": 3}, "has 3 for 'epochs', but every .* must be a string"),
        ("inputdataconfig", {"validation": {}}, "names a channel 'validation', but .* not there"),
    ],
)
def test_what_this_version_does_not_run_is_refused(
    root: Path, name: str, value: Any, message: str
) -> None:
    write(root, name, value)
    with pytest.raises(TrainingError, match=message):
        read(root)


def test_a_missing_or_malformed_file_is_named(root: Path) -> None:
    path = root / "input/config/hyperparameters.json"
    path.write_text("{")
    with pytest.raises(TrainingError, match=r"hyperparameters\.json cannot be read as JSON"):
        read(root)
    path.unlink()
    with pytest.raises(TrainingError, match=r"does not exist.*set SAGEMAKER_BASE_DIR"):
        read(root)


def test_a_missing_train_channel_is_refused(root: Path) -> None:
    shutil.rmtree(root / "input/data/train")
    with pytest.raises(TrainingError, match=r"has no channel 'train'.*Add a channel"):
        read(root)


def test_one_and_several_wrong_hyperparameters_make_one_sentence(root: Path) -> None:
    configure(root, epochs="0")
    with pytest.raises(TrainingError, match=r"^Hyperparameter `epochs` is '0', but must be"):
        read(root)
    configure(root, epochs="0", bta_value="1")
    with pytest.raises(TrainingError, match=r"^2 hyperparameters are wrong: .*epochs") as caught:
        read(root)
    assert "Did you mean 'beta_value'?" in str(caught.value)
    assert "\n" not in str(caught.value)
