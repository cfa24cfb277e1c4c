"""The smallest real job, for somebody who has an account. It costs a few cents and cleans up.

It needs credentials, a region, and an Algorithm resource made by
``Algorithm.from_contract("<image URI>").register()``, named by ``SIFT_TEST_ALGORITHM``.
``SIFT_TEST_ROLE`` names the role where the credentials are not those of one.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagemaker_sift import AlgorithmEstimator, Session, write_default_dataset

pytestmark = pytest.mark.aws


@pytest.fixture
def algorithm() -> str:
    name = os.environ.get("SIFT_TEST_ALGORITHM", "")
    if not name:
        pytest.fail("Set SIFT_TEST_ALGORITHM to the name of an Algorithm resource.")
    return name


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def prefix(session: Session) -> Iterator[str]:
    """A prefix of the default bucket that is emptied afterwards."""
    name = f"sagemaker-sift-test/{uuid.uuid4().hex}"
    yield name
    bucket = session.boto_session.resource("s3").Bucket(session.default_bucket())
    bucket.objects.filter(Prefix=name).delete()


@pytest.mark.timeout(3600)
def test_one_epoch_on_the_smallest_machine(
    algorithm: str, session: Session, prefix: str, tmp_path: Path
) -> None:
    digits = write_default_dataset(tmp_path / "digits")
    train = session.upload_data(digits.train, key_prefix=f"{prefix}/train")
    validation = session.upload_data(digits.validation, key_prefix=f"{prefix}/validation")
    estimator = AlgorithmEstimator(
        algorithm,
        role=os.environ.get("SIFT_TEST_ROLE"),
        instance_type="ml.m5.large",
        max_run=1800,
        output_path=f"s3://{session.default_bucket()}/{prefix}/output",
        base_job_name="sagemaker-sift-test",
        sagemaker_session=session,
        tags={"purpose": "sagemaker-sift-test"},
        hyperparameters={
            "num_classes": 10,
            "num_training_samples": digits.num_training_samples,
            "num_layers": 20,
            "image_shape": "3,28,28",
            "epochs": 1,
            "beta_value": 1,
        },
    )
    estimator.fit({"train": train, "validation": validation})
    summary = estimator.summary()
    assert summary.status == "Completed"
    assert summary.validation_accuracy is not None
    names = {path.name for path in estimator.job().download(tmp_path / "model")}
    assert "model-shapes.json" in names or any(name.endswith(".safetensors") for name in names)
    attached = AlgorithmEstimator.attach(estimator.job().name, session)
    assert attached.hyperparameters() == estimator.hyperparameters()
