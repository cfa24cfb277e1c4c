"""Which GPUs of this machine a job gets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sagemaker_sift.contract.instances import num_gpus
from sagemaker_sift.contract.problem import ContractError

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
"""Names the GPUs that a process sees."""

_DEVICE = re.compile(r"nvidia(\d+)")
_GPU_FAMILIES = ("ml.g", "ml.p")


def list_gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """Return the GPUs of this machine, as ``CUDA_VISIBLE_DEVICES`` names them.

    Args:
        environ: Of the launching process; if it says which GPUs are visible, those are all.
        devices: Where the driver's device files lie.
    """
    visible = environ.get(VISIBLE_VARIABLE)
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in {"", "-1"}]
    if not devices.is_dir():
        return []
    found = (_DEVICE.fullmatch(path.name) for path in devices.iterdir())
    return sorted((match.group(1) for match in found if match), key=int)


def choose_gpus(
    resources: Mapping[str, Any], gpus: Sequence[str], taken: Iterable[Sequence[str]]
) -> list[str] | None:
    """Return the GPUs of a job: as many as its machines have, if there are as many.

    The least used ones are taken. A job of machines without GPUs gets none, so that it trains as
    it would there.

    Args:
        resources: The job's ``ResourceConfig``.
        gpus: Those of this machine.
        taken: Those of each job that runs.

    Returns:
        ``None`` if this machine has no GPU, so that there is nothing to say.

    Example:
        >>> choose_gpus({"InstanceType": "ml.g5.xlarge", "InstanceCount": 1}, ["0", "1"], [["0"]])
        ['1']
    """
    if not gpus:
        return None
    groups = resources.get("InstanceGroups") or [resources]
    wanted = sum(
        _count(str(group.get("InstanceType"))) * int(group.get("InstanceCount", 1))
        for group in groups
    )
    uses = Counter(gpu for job in taken for gpu in job)
    by_use = sorted(gpus, key=lambda gpu: (uses[gpu], gpus.index(gpu)))
    return sorted(by_use[:wanted], key=list(gpus).index)


def _count(instance_type: str) -> int:
    try:
        return num_gpus(instance_type)
    except ContractError:  # a type that only other algorithms are offered for
        return int(instance_type.startswith(_GPU_FAMILIES))
