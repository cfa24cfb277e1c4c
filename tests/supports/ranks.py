"""Run a program of ``rank_programs`` as several real processes that talk by gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class RankEnd:
    """How one process ended: its exit code, what its program returned, and what it wrote."""

    code: int
    result: Any
    output: str


def run_ranks(
    program: str,
    size: int,
    options: dict[str, Any] | None = None,
    *,
    never_ending: tuple[int, ...] = (),
) -> list[RankEnd]:
    """Run one process per rank and return how each ended; those that never end are killed last."""
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            _start(program, rank, size, options or {}, Path(folder)) for rank in range(size)
        ]
        try:
            for rank, process in enumerate(processes):
                if rank not in never_ending:
                    process.wait(timeout=150)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                process.wait()
        return [_read_end(process, rank, Path(folder)) for rank, process in enumerate(processes)]


def _start(
    program: str, rank: int, size: int, options: dict[str, Any], folder: Path
) -> subprocess.Popen[bytes]:
    call = {"program": program, "rank": rank, "size": size, "options": options}
    call |= {"folder": str(folder)}
    with (folder / f"{rank}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.supports.ranks", json.dumps(call)],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _read_end(process: subprocess.Popen[bytes], rank: int, folder: Path) -> RankEnd:
    result = folder / f"{rank}.json"
    return RankEnd(
        code=process.returncode,
        result=json.loads(result.read_text()) if result.exists() else None,
        output=(folder / f"{rank}.log").read_text(errors="replace"),
    )


def _main(call: dict[str, Any]) -> None:
    from torch import distributed

    from tests.supports import rank_programs

    folder, rank = Path(call["folder"]), call["rank"]
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=call["size"],
        timeout=timedelta(seconds=60),
    )
    result = getattr(rank_programs, call["program"])(rank, call["size"], call["options"])
    (folder / f"{rank}.json").write_text(json.dumps(result))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
