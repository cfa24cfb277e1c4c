"""A pilot of a DDP model on one rank alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]
RANK_PROGRAM = """\
import json, sys
import torch
from torch import distributed
from smart_sifting import pilot

class SquaredOutput:
    def loss(self, model, transformed_batch, original_batch):
        return model(original_batch) ** 2

def train(has_pilots, rank, options):
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm1d(3)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), norm, torch.nn.Linear(3, 1))
    model = torch.nn.parallel.DistributedDataParallel(net, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = list(torch.rand(10, 8, 4, generator=torch.Generator().manual_seed(rank)))
    for batch in batches[:4]:
        if has_pilots and rank == 0:
            pilot(model, SquaredOutput(), batches, optimizer=optimizer, num_batches=2)
        optimizer.zero_grad()
        (model(batch) ** 2).mean().backward()
        optimizer.step()
    return [parameter.tolist() for parameter in net.parameters()]

rank, store, options = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
print(json.dumps({
    "with pilots": train(True, rank, options),
    "without": train(False, rank, options),
}))
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("options", [{}, {"static_graph": True}])
def test_a_pilot_on_one_rank_reaches_no_other_and_ddp_does_not_count_it(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """Two processes; only rank 0 runs pilots, before and between the steps of both."""
    program = tmp_path / "program.py"
    program.write_text(RANK_PROGRAM)
    ranks = [
        subprocess.Popen(
            [
                sys.executable,
                str(program),
                str(rank),
                str(tmp_path / "store"),
                json.dumps(options),
            ],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        weights = [json.loads(rank.communicate(timeout=100)[0]) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert weights[0] == weights[1]
    assert weights[0]["with pilots"] == weights[0]["without"]
