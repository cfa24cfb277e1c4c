"""GPUs of each instance type that the algorithm is offered for, and the batch size to begin with.

Source: the fine-tuning page of SageMaker JumpStart (GPUs of the p3 family; 32 images a GPU, times
the number of GPUs) and the EC2 pages of accelerated computing instances (the other families).
"""

from __future__ import annotations

from dataclasses import dataclass

from sagemaker_sift.contract.problem import ContractError, Problem, closest
from sagemaker_sift.contract.specification import INSTANCE_TYPES

IMAGES_PER_GPU = 32
"""Batch size of one GPU to begin with, for a vision model."""

_SEVERAL_GPUS = {
    "ml.p3.8xlarge": 4,
    "ml.p3.16xlarge": 8,
    "ml.p3dn.24xlarge": 8,
    "ml.p4d.24xlarge": 8,
    "ml.p5.48xlarge": 8,
    "ml.g4dn.12xlarge": 4,
    "ml.g5.12xlarge": 4,
    "ml.g5.24xlarge": 4,
    "ml.g5.48xlarge": 8,
    "ml.g6.12xlarge": 4,
    "ml.g6.24xlarge": 4,
    "ml.g6.48xlarge": 8,
}
_CPU_FAMILIES = ("ml.c", "ml.m")


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance type.

    Attributes:
        type: The API's ``InstanceType``.
        gpus: Number of GPUs; a job uses all of them.
    """

    type: str
    gpus: int


INSTANCES = tuple(
    Instance(name, 0 if name.startswith(_CPU_FAMILIES) else _SEVERAL_GPUS.get(name, 1))
    for name in INSTANCE_TYPES
)
"""Every instance type of the algorithm, in the order of its specification."""

_BY_TYPE = {instance.type: instance for instance in INSTANCES}


def num_gpus(instance_type: str) -> int:
    """Return the number of GPUs of an instance type; 0 if it has none.

    Raises:
        ContractError: If the algorithm is not offered for the type.

    Example:
        >>> num_gpus("ml.p3.8xlarge")
        4
    """
    instance = _BY_TYPE.get(instance_type)
    if instance is None:
        hint = closest(str(instance_type), _BY_TYPE)
        what = f"is {instance_type!r}, which the algorithm is not offered for.{hint}"
        raise ContractError([Problem("instance_type", what)])
    return instance.gpus


def suggest_batch_size(instance_type: str, *, per_gpu: int = IMAGES_PER_GPU) -> int:
    """Return a ``mini_batch_size`` to begin with: ``per_gpu`` times the number of GPUs.

    The number of instances makes no difference: ``mini_batch_size`` is that of one instance, split
    over its GPUs. A CPU counts as one GPU.

    Args:
        instance_type: Such as ``ml.g5.12xlarge``.
        per_gpu: Images a GPU, 1 or more.

    Raises:
        ContractError: If the algorithm is not offered for the type, or ``per_gpu`` is too small.

    Example:
        >>> suggest_batch_size("ml.p3.8xlarge"), suggest_batch_size("ml.m5.large")
        (128, 32)
    """
    if per_gpu < 1:
        raise ContractError([Problem("per_gpu", f"is {per_gpu!r}, but must be 1 or more.")])
    return per_gpu * max(1, num_gpus(instance_type))
