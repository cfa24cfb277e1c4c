"""A Hugging Face Trainer that sifts on two ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = ("4", "6", "9")  # an epoch's last step, one within, and the first after an epoch's end


def test_two_ranks_train_alike_and_resume_to_the_bit(tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    module = ["-m", "tests.supports.hugging_face_ranks", str(tmp_path), *STEPS]
    subprocess.run(
        [sys.executable, *launcher, *module],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
        capture_output=True,
        timeout=200,
    )
    ranks = [json.loads((tmp_path / f"results_{rank}.json").read_text()) for rank in range(2)]
    for results in ranks:
        reference = results["reference"]
        assert reference["epoch"] == 3.0
        assert len(reference["counts"]) == 3
        for step in STEPS:
            assert results[step] == reference, step
    one, other = (results["reference"] for results in ranks)
    assert one["weight"] == other["weight"]
    assert one["global_step"] == other["global_step"]
    assert one["counts"] != other["counts"]
    names = {path.name for path in (tmp_path / "reference/checkpoint-6").glob("sifting_*")}
    assert names == {"sifting_state_0.pt", "sifting_state_1.pt"}
