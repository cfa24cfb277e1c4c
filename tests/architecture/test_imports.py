from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "boto3", "botocore", "sagemaker", "pandas", "optuna", "cv2", "numpy", "rich")
CLIENT = (
    "sagemaker_sift.estimator",
    "sagemaker_sift.session",
    "sagemaker_sift.exceptions",
    "sagemaker_sift.backends",
    "sagemaker_sift.requests",
    "sagemaker_sift.results",
    "sagemaker_sift.cli",
)


def loaded_by(statement: str, names: tuple[str, ...]) -> list[str]:
    probe = f"{statement}; import sys; print(*[m for m in {names!r} if m in sys.modules])"
    command = [sys.executable, "-c", probe]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import sagemaker_sift", HEAVY) == []


def test_the_client_loads_neither_torch_nor_boto3() -> None:
    statement = "from sagemaker_sift import AlgorithmEstimator, LocalSession, TrainingJob"
    assert loaded_by(statement, ("torch", "boto3", "pandas", "cv2", "rich")) == []


def test_the_contract_loads_pydantic_and_nothing_else() -> None:
    statement = "import sagemaker_sift.contract.specification"
    assert loaded_by(statement, (*HEAVY, *CLIENT)) == []


def test_the_trainer_loads_no_aws_library_and_no_client() -> None:
    statement = "import sagemaker_sift.trainer.main"
    aws = ("boto3", "botocore", "sagemaker")
    assert loaded_by(statement, (*aws, *CLIENT)) == []


def test_smart_sifting_loads_no_integration_and_nothing_of_ours() -> None:
    names = ("sagemaker_sift", "boto3", "botocore", "transformers", "lightning", "pandas")
    assert loaded_by("import smart_sifting", names) == []


@pytest.mark.parametrize("module", ["supervisor", "client"])
def test_the_local_backend_never_imports_the_trainer(module: str) -> None:
    statement = f"import sagemaker_sift.backends.local.{module}"
    assert loaded_by(statement, ("sagemaker_sift.trainer", "smart_sifting", "torch")) == []
