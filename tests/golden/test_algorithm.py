from __future__ import annotations

from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.requests.service_model import find_violations
from sagemaker_sift.requests.validation_profile import build_validation_specification
from tests.golden.golden import compare

IMAGE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/sagemaker-sift:0.4"
ROLE = "arn:aws:iam::111122223333:role/sift"


def test_a_published_algorithm_is_the_stored_request_and_valid() -> None:
    algorithm = Algorithm.from_contract(
        IMAGE,
        inference_image=f"{IMAGE}-serve",
        certify_for_marketplace=True,
        tags=[{"Key": "team", "Value": "vision"}],
        validation_specification=build_validation_specification(
            ROLE,
            "s3://bucket/train",
            "s3://bucket/validated",
            instance_type="ml.g5.xlarge",
            hyperparameters={"num_classes": 10, "num_training_samples": 1437, "beta_value": 1},
            validation_uri="s3://bucket/validation",
            content_type="application/x-image",
            transform_input_uri="s3://bucket/images",
            transform_instance_type="ml.m5.large",
        ),
    )
    request = algorithm.to_request()
    compare("algorithm.json", request)
    assert find_violations("CreateAlgorithm", request) == []
    assert algorithm.problems() == ()
