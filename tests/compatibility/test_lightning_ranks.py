"""A Lightning Trainer that sifts on two ranks (``strategy="ddp"``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = ("3", "7")


def test_two_ranks_train_alike_and_resume(tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    module = ["-m", "tests.supports.lightning_ranks", str(tmp_path), *STEPS]
    done = subprocess.run(
        [sys.executable, *launcher, *module],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"results_{rank}.json").read_text()) for rank in range(2)]
    one, other = (results["reference"] for results in ranks)
    assert one["weights"] == other["weights"]
    assert one["global_step"] == other["global_step"] > 9
    counts = [[epoch["num_batches"] for epoch in rank["epochs"]] for rank in (one, other)]
    assert counts[0] == counts[1]
    assert len(counts[0]) == one["num_validations"] == 3
    assert one["epochs"] != other["epochs"]
    for results in ranks:
        for step in STEPS:
            assert results[step]["weights"] == results["reference"]["weights"]
            assert results[step]["epochs"] == results["reference"]["epochs"]
