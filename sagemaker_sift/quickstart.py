"""The first job: the default dataset, a sifted ResNet-20, on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sagemaker_sift.default_dataset import write_default_dataset
from sagemaker_sift.estimator import AlgorithmEstimator
from sagemaker_sift.session import LocalSession

QUICKSTART_HYPERPARAMETERS: dict[str, Any] = {
    "num_layers": 20,
    "image_shape": "3,28,28",
    "epochs": 14,
    "lr_scheduler_step": "9,12",
    "learning_rate": 0.1,
    "mini_batch_size": 32,
    "beta_value": 1,
}
"""What the quickstart trains with; it was chosen to pass 0.97 in some minutes on two cores."""


def run_quickstart(
    root: str | os.PathLike[str], *, logs: bool | str = True, **hyperparameters: Any
) -> AlgorithmEstimator:
    """Train a sifted model on the default dataset and return its estimator.

    Args:
        root: Folder for the dataset (``data/digits``) and the jobs.
        logs: As in :meth:`~sagemaker_sift.estimator.AlgorithmEstimator.fit`.
        **hyperparameters: Override :data:`QUICKSTART_HYPERPARAMETERS`.

    Raises:
        JobFailedError: If the job failed.
    """
    dataset = write_default_dataset(Path(root) / "data" / "digits")
    estimator = AlgorithmEstimator(
        "sift-image-classification",
        instance_type="ml.m5.large",
        base_job_name="quickstart",
        sagemaker_session=LocalSession(root),
    )
    estimator.set_hyperparameters(
        num_classes=dataset.num_classes,
        num_training_samples=dataset.num_training_samples,
        **(QUICKSTART_HYPERPARAMETERS | hyperparameters),
    )
    estimator.fit({"train": dataset.train, "validation": dataset.validation}, logs=logs)
    return estimator
