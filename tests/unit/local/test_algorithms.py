"""Algorithms that are registered with the local SageMaker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_sift.backends.local.client import LocalSageMaker
from sagemaker_sift.backends.local.store import STORE_NAME, RecordStore, set_status
from tests.supports.algorithms import build_trees
from tests.supports.dummy_algorithm import NAME, build_training_request, register
from tests.supports.held_launcher import HeldLauncher

BUNDLED = "sift-image-classification"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LocalSageMaker]:
    client = LocalSageMaker(tmp_path, launcher=HeldLauncher(tmp_path))
    register(client, tmp_path)
    yield client
    client.close()


def run(client: LocalSageMaker, root: Path, algorithm: str = NAME) -> None:
    request = build_training_request(root)
    request["AlgorithmSpecification"]["AlgorithmName"] = algorithm
    client.create_training_job(**request)


def register_image(client: LocalSageMaker, image: str, name: str = "other") -> str:
    """Register an algorithm like the dummy one with another image and return its ARN."""
    specification = client.describe_algorithm(AlgorithmName=NAME)["TrainingSpecification"]
    specification = {**specification, "TrainingImage": image}
    created = client.create_algorithm(AlgorithmName=name, TrainingSpecification=specification)
    return str(created["AlgorithmArn"])


def test_an_algorithm_is_described_as_it_was_registered(client: LocalSageMaker) -> None:
    described = client.describe_algorithm(AlgorithmName=NAME)
    assert described["AlgorithmStatus"] == "Completed"
    assert described["AlgorithmArn"].endswith(f":algorithm/{NAME}")
    names = [one["Name"] for one in described["TrainingSpecification"]["SupportedHyperParameters"]]
    assert names == ["x", "epochs", "mode"]
    assert client.describe_algorithm(AlgorithmName=described["AlgorithmArn"]) == described


@pytest.mark.parametrize("name", [NAME, NAME.upper(), BUNDLED, BUNDLED.title()])
def test_a_name_is_taken_in_whatever_case(name: str, client: LocalSageMaker) -> None:
    with pytest.raises(ClientError, match="is taken by another algorithm"):
        register_image(client, "file:///train.py", name)


def test_the_bundled_algorithm_is_always_there(client: LocalSageMaker) -> None:
    listed = client.list_algorithms()["AlgorithmSummaryList"]
    assert [one["AlgorithmName"] for one in listed] == [BUNDLED, NAME]
    with pytest.raises(ClientError, match="cannot be deleted"):
        client.delete_algorithm(AlgorithmName=BUNDLED)


def test_an_unknown_algorithm_is_told_with_those_that_are_there(
    client: LocalSageMaker, tmp_path: Path
) -> None:
    for call in (
        lambda: client.describe_algorithm(AlgorithmName="dumy"),
        lambda: client.delete_algorithm(AlgorithmName="dumy"),
        lambda: run(client, tmp_path, "dumy"),
    ):
        with pytest.raises(ClientError, match=f"Here is: '{BUNDLED}', '{NAME}'"):
            call()


def test_an_image_that_needs_docker_is_refused_with_what_to_do(
    client: LocalSageMaker, tmp_path: Path
) -> None:
    specification = build_trees()
    client.create_algorithm(AlgorithmName="trees", TrainingSpecification=specification)
    with pytest.raises(ClientError) as caught:
        run(client, tmp_path, "trees")
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    told = str(caught.value)
    assert f"runs the image '{specification['TrainingImage']}', which needs Docker" in told
    assert "TrainingImage 'file:///folder/train.py'" in told


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.write_text("#!/bin/sh\n"), "Run chmod [+]x"),
        (lambda path: path.mkdir(), "there is no such file"),
    ],
    ids=["missing", "not-executable", "folder"],
)
def test_a_program_that_cannot_run_is_refused(
    make: Callable[[Path], Any], words: str, client: LocalSageMaker, tmp_path: Path
) -> None:
    path = tmp_path / "train.sh"
    make(path)
    register_image(client, f"file://{path}")
    with pytest.raises(ClientError, match=words):
        run(client, tmp_path, "other")


def test_a_folder_stands_for_its_program_train(client: LocalSageMaker, tmp_path: Path) -> None:
    folder = tmp_path / "my image"
    folder.mkdir()
    (folder / "train").write_text("#!/bin/sh\n")
    (folder / "train").chmod(0o755)
    register_image(client, folder.as_uri())
    run(client, tmp_path, "other")
    record = RecordStore(tmp_path / STORE_NAME).training_jobs.read("job")
    assert record is not None
    assert record["Local"]["Program"] == str(folder / "train")


@pytest.mark.parametrize("by_arn", [False, True], ids=["name", "arn"])
def test_an_algorithm_is_not_deleted_while_a_job_runs_it(
    by_arn: bool, client: LocalSageMaker, tmp_path: Path
) -> None:
    arn = client.describe_algorithm(AlgorithmName=NAME)["AlgorithmArn"]
    run(client, tmp_path, arn if by_arn else NAME)
    with pytest.raises(ClientError, match="'dummy' is run by job") as caught:
        client.delete_algorithm(AlgorithmName=NAME)
    assert caught.value.response["Error"]["Code"] == "ConflictException"
    table = RecordStore(tmp_path / STORE_NAME).training_jobs
    table.update("job", lambda record: set_status(record, "Completed", "Completed", 1.0))
    client.delete_algorithm(AlgorithmName=NAME)
    with pytest.raises(ClientError):
        client.describe_algorithm(AlgorithmName=NAME)


def test_everything_that_is_wrong_with_an_algorithm_is_told_at_once(
    client: LocalSageMaker,
) -> None:
    with pytest.raises(ClientError) as caught:
        client.create_algorithm(
            AlgorithmName="a b",
            TrainingSpecification={
                "TrainingImage": "",
                "SupportedTrainingInstanceTypes": ["ml.g9.huge"],
                "TrainingChannels": [],
            },
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    for words in ("AlgorithmName", "ml.g9.huge", "TrainingChannels"):
        assert words in str(caught.value)
