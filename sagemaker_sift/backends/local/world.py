"""What a process takes in when it starts and its libraries load, and keeps for good.

A worker (:mod:`sagemaker_sift.backends.local.worker`) has started before the job that it runs. It
may do so only as long as a fresh process would have started in the same way.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sagemaker_sift.backends.local.gpus import VISIBLE_VARIABLE

# CUDA_VISIBLE_DEVICES is read when CUDA is first used, which no worker does.
_PREFIXES = (
    *("ATEN_", "BLIS_", "CUDA_", "DNNL_", "GOMP_", "KMP_", "LC_", "LD_", "MALLOC_", "MKL_"),
    *("NUMEXPR_", "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "OPENCV_", "PYTHON", "PYTORCH_"),
    "TORCH_",
)
_NAMES = {"GLIBC_TUNABLES", "LANG", "LANGUAGE"}


def select_load_time(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are read when Python or a library loads, and not again.

    Args:
        environ: An environment.

    Example:
        >>> select_load_time({"OMP_NUM_THREADS": "1", "HOME": "/root", "LANG": "C"})
        {'OMP_NUM_THREADS': '1', 'LANG': 'C'}
    """
    return {
        name: value
        for name, value in environ.items()
        if (name in _NAMES or name.startswith(_PREFIXES)) and name != VISIBLE_VARIABLE
    }


@dataclass(frozen=True, slots=True)
class World:
    """What a process that starts now would take in; two that are equal start alike.

    Attributes:
        variables: Of the environment, those that are read once, sorted.
        executable: The interpreter.
        cpus: Processors that may be used.
        code: Number of our source files, their newest change and their size, and the last change
            of the folders with installed packages, nanoseconds and bytes.
    """

    variables: tuple[tuple[str, str], ...]
    executable: str
    cpus: frozenset[int]
    code: tuple[int, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> World:
        """Return the world as it is now.

        Args:
            environ: The environment that a process would get.
        """
        variables = tuple(sorted(select_load_time(environ).items()))
        return cls(variables, sys.executable, find_cpus(), _stamp_code())


def find_cpus() -> frozenset[int]:
    """Return the processors that this process may use.

    Example:
        >>> len(find_cpus()) >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _stamp_code() -> tuple[int, ...]:
    package = Path(__file__).parents[2]
    stats = [
        stat
        for folder in (package, package.parent / "smart_sifting")
        for stat in _stat_sources(str(folder))
    ]
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    changes = [os.stat(path).st_mtime_ns for path in sorted(installed) if os.path.isdir(path)]
    return (len(stats), newest, sum(stat.st_size for stat in stats), *changes)


def _stat_sources(folder: str) -> Iterator[os.stat_result]:
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry.stat()
            elif entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                yield from _stat_sources(entry.path)
