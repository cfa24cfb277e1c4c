"""Running out of memory, said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.errors import TrainingError

_SIGNS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


@contextmanager
def memory_explained(hyperparameters: Hyperparameters, device: torch.device) -> Iterator[None]:
    """Turn running out of memory inside the block into an error for the job's owner.

    Args:
        hyperparameters: Of the job.
        device: Where it trains.

    Raises:
        TrainingError: With the batch size, and what to try.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _build_memory_error(hyperparameters, device) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS):
            raise
        raise _build_memory_error(hyperparameters, device) from error


def _build_memory_error(hp: Hyperparameters, device: torch.device) -> TrainingError:
    half = "" if hp.precision_dtype != "float32" or device.type == "cpu" else "float16, "
    where = "The machine" if device.type == "cpu" else "The GPU"
    shape = ",".join(map(str, hp.image_shape))
    return TrainingError(
        f"{where} has too little memory for mini_batch_size {hp.mini_batch_size} with image_shape "
        f"{shape} and num_layers {hp.num_layers}. Try a smaller mini_batch_size, {half}a smaller "
        "image_shape, fewer num_layers, or an instance type with more memory."
    )
