from collections.abc import Callable

import pytest
import torch

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.memory import memory_explained

CPU = torch.device("cpu")


def make_hyperparameters(**changes: str) -> Hyperparameters:
    given = {"num_classes": "2", "num_training_samples": "99", "mini_batch_size": "77"}
    return Hyperparameters.from_strings(given | changes)


def allocate_too_much() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def fail_on_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def fail_in_python() -> None:
    raise MemoryError


@pytest.mark.parametrize("fail", [allocate_too_much, fail_on_gpu, fail_in_python])
def test_running_out_of_memory_says_the_batch_size_and_what_to_try(
    fail: Callable[[], None],
) -> None:
    with (
        pytest.raises(
            TrainingError,
            match=r"too little memory for mini_batch_size 77 with image_shape 3,224,224 and "
            r"num_layers 152\. Try a smaller mini_batch_size",
        ),
        memory_explained(make_hyperparameters(), CPU),
    ):
        fail()


@pytest.mark.parametrize(
    ("device", "precision", "is_advised"),
    [
        ("cuda", "float32", True),
        ("cuda", "float16", False),
        ("cuda", "bfloat16", False),
        ("cpu", "float32", False),
    ],
)
def test_float16_is_advised_where_it_helps(device: str, precision: str, is_advised: bool) -> None:
    hyperparameters = make_hyperparameters(precision_dtype=precision)
    with (
        pytest.raises(TrainingError) as caught,
        memory_explained(hyperparameters, torch.device(device)),
    ):
        fail_on_gpu()
    assert ("float16" in str(caught.value)) == is_advised
    assert str(caught.value).startswith("The GPU" if device == "cuda" else "The machine")


def test_other_errors_pass() -> None:
    with (
        pytest.raises(RuntimeError, match=r"^shapes differ"),
        memory_explained(make_hyperparameters(), CPU),
    ):
        raise RuntimeError("shapes differ")
