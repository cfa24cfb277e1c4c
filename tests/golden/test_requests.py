from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift import AlgorithmEstimator, InvalidRequestError, LocalSession, TrainingInput
from sagemaker_sift.requests.service_model import find_violations
from tests.golden.golden import compare

ROLE = "arn:aws:iam::111122223333:role/sift"


def build_estimator(root: Path, **more: Any) -> AlgorithmEstimator:
    for channel in ("train", "validation"):
        (root / "s3" / "bucket" / channel).mkdir(parents=True)
    return AlgorithmEstimator(
        "sift-image-classification",
        role=ROLE,
        instance_type="ml.g5.xlarge",
        output_path="s3://bucket/models",
        sagemaker_session=LocalSession(root),
        hyperparameters={
            "num_classes": 10,
            "num_training_samples": 1437,
            "image_shape": "3,28,28",
            "num_layers": 20,
        },
        **more,
    )


def test_a_plain_job(tmp_path: Path) -> None:
    request = build_estimator(tmp_path).request({"train": "s3://bucket/train"}, "plain")
    compare("requests/plain.json", request)
    assert find_violations("CreateTrainingJob", request) == []


def test_a_job_that_sets_every_field(tmp_path: Path) -> None:
    estimator = build_estimator(
        tmp_path,
        instance_count=1,
        volume_size=50,
        volume_kms_key="arn:aws:kms:us-east-1:111122223333:key/volume",
        max_run=3600,
        input_mode="FastFile",
        output_kms_key="arn:aws:kms:us-east-1:111122223333:key/output",
        tags=[{"Key": "team", "Value": "vision"}],
        subnets=["subnet-1"],
        security_group_ids=["sg-1"],
        metric_definitions=[{"Name": "m", "Regex": "m=([0-9.]+)"}],
        encrypt_inter_container_traffic=True,
        use_spot_instances=True,
        max_wait=7200,
        checkpoint_s3_uri="s3://bucket/checkpoints",
        checkpoint_local_path="/opt/ml/checkpoints",
        environment={"LOG_LEVEL": "debug"},
        enable_network_isolation=True,
    )
    estimator.set_hyperparameters(beta_value=1, lr_scheduler_step="10, 20")
    request = estimator.request(
        {
            "train": TrainingInput("s3://bucket/train", content_type="application/x-image"),
            "validation": TrainingInput("s3://bucket/validation", input_mode="File"),
        },
        "every-field",
    )
    compare("requests/every_field.json", request)
    assert find_violations("CreateTrainingJob", request) == []


def test_every_problem_of_a_request_is_reported_at_once(tmp_path: Path) -> None:
    estimator = build_estimator(
        tmp_path,
        instance_count=0,
        volume_size=-1,
        use_spot_instances=True,
        subnets=["subnet-1"],
        tags=[{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}],
    )
    estimator.set_hyperparameters(mini_batch_size=2000)
    with pytest.raises(InvalidRequestError) as caught:
        estimator.request(
            {
                "trian": "s3://bucket/train",
                "validation": TrainingInput(
                    "s3://b/v", content_type="text/csv", input_mode="Stream"
                ),
            },
            "bad name",
        )
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert found.keys() == {
        "job_name",
        "volume_size",
        "instance_count",
        "security_group_ids",
        "max_wait",
        "tags",
        "inputs",
        "inputs['trian']",
        "inputs['validation'].content_type",
        "inputs['validation'].input_mode",
        "mini_batch_size",
        "inputs['validation']",
    }
    assert "Did you mean 'train'?" in found["inputs['trian']"]
    assert "lacks the channel 'train'" in found["inputs"]
    assert str(caught.value).startswith("12 things are wrong:")


def test_an_instance_type_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path) -> None:
    estimator = AlgorithmEstimator(
        "sift-image-classification",
        instance_type="ml.g5.xlarg",
        sagemaker_session=LocalSession(tmp_path),
        hyperparameters={"num_classes": 10, "num_training_samples": 100},
    )
    (tmp_path / "s3" / "bucket" / "train").mkdir(parents=True)
    with pytest.raises(InvalidRequestError, match=r"Did you mean 'ml\.g5\.xlarge'"):
        estimator.request({"train": "s3://bucket/train"})


def test_a_file_uri_is_accepted_on_this_machine_only() -> None:
    request = {
        "TrainingJobName": "a",
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "file:///models"},
    }
    assert find_violations("CreateTrainingJob", request, allow_file_uris=True) == []
    assert [p.path for p in find_violations("CreateTrainingJob", request)] == [
        "OutputDataConfig.S3OutputPath"
    ]
