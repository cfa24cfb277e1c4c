"""A training program as a container starts it: reads /opt/ml, joins the other hosts, sifts."""

from __future__ import annotations

import json
import os
import sys

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.distributed import PORT_VARIABLE, Cluster, Placement
from smart_sifting import SiftingDataloader
from tests.conformance.loader_suite import make_config
from tests.supports.rank_programs import CrossEntropy, Network


def main(port: int) -> None:
    paths = ContainerPaths.from_environment(os.environ)
    cluster = Cluster.from_resource_config(json.loads(paths.resource_config.read_text()))
    placement = Placement.from_environment(cluster, {PORT_VARIABLE: str(port)})
    placement.join(backend="gloo", timeout_s=60)
    torch.manual_seed(0)
    inputs = torch.randn(120, 3)
    dataset = TensorDataset(inputs, (inputs[:, 0] > 0).long(), torch.arange(120))
    sampler: DistributedSampler[int] = DistributedSampler(dataset, seed=3)
    model = DistributedDataParallel(Network())
    loader = SiftingDataloader(
        make_config(delay=2),
        DataLoader(dataset, batch_size=8, sampler=sampler),
        loss_impl=CrossEntropy(),
        model=model,
        seed=0,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append([])
        for inputs, labels, ids in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            epochs[-1].append(ids.tolist())
    result = {
        "rank": distributed.get_rank(),
        "num_ranks": distributed.get_world_size(),
        "epochs": epochs,
        "weights": [float(value.sum()) for value in model.parameters()],
        "sifted_out": loader.statistics.samples_sifted_out,
    }
    paths.output_data.mkdir(parents=True)
    (paths.output_data / "result.json").write_text(json.dumps(result))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]))
