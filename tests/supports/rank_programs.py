"""What the processes of ``tests.supports.ranks`` do; each program runs on every rank."""

from __future__ import annotations

import io
import os
import signal
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from smart_sifting import Loss, SiftingDataloader
from tests.conformance.loader_suite import make_config
from tests.supports.deciding_ranks import decide_together as decide_together

BATCH_SIZE = 4


class Network(nn.Module):
    """With BatchNorm, dropout, and a head that is used only if asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(8, 2)
        self.unused = nn.Linear(8, 2)

    def forward(self, inputs: torch.Tensor, uses_all: bool = True) -> torch.Tensor:
        hidden = self.body(inputs)
        logits: torch.Tensor = self.head(hidden)
        return logits + 0.01 * self.unused(hidden) if uses_all else logits


class CrossEntropy(Loss):
    """Counts its passes; a slow rank makes each of them many times over."""

    def __init__(self, num_repetitions: int = 1) -> None:
        self.num_repetitions = num_repetitions
        self.num_passes = 0
        self.losses: list[float] = []

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        self.num_passes += 1
        inputs, labels, _ = original_batch
        for _ in range(self.num_repetitions):
            logits = model(inputs)
        losses = nn.functional.cross_entropy(logits, labels, reduction="none")
        self.losses += losses.tolist()
        return losses


def make_shard(rank: int, num_samples: int) -> TensorDataset:
    """Return inputs, labels and ids of one rank; rank 1's are harder to learn."""
    generator = torch.Generator().manual_seed(rank)
    inputs = torch.randn(num_samples, 3, generator=generator)
    noise = torch.randn(num_samples, generator=generator) * (3.0 if rank == 1 else 0.3)
    ids = torch.arange(num_samples) + 1000 * rank
    return TensorDataset(inputs, (inputs[:, 0] + noise > 0).long(), ids)


def train_scenarios(rank: int, size: int, options: dict[str, Any]) -> dict[str, Any]:
    """Train a DDP model by every scenario, one after the other."""
    return {name: train(rank, scenario) for name, scenario in options.items()}


def train(rank: int, scenario: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(5)
    model = Network()
    finds_unused = scenario.get("find_unused_parameters", False)
    ddp = DistributedDataParallel(model, find_unused_parameters=finds_unused)
    num_samples = scenario.get("num_samples", {}).get(str(rank), 50)
    is_slow = rank == scenario.get("slow_rank")
    loss_impl = CrossEntropy(num_repetitions=200 if is_slow else 1)
    loader = SiftingDataloader(
        make_config(**{"delay": 3, "history": 40} | scenario.get("config", {})),
        DataLoader(make_shard(rank, num_samples), batch_size=BATCH_SIZE),
        loss_impl=loss_impl,
        model=ddp,
        seed=1,
        share_history=scenario.get("share_history", False),
        process_group=make_group(scenario),
    )
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1, momentum=0.9)
    epochs = []
    for _ in range(scenario.get("num_epochs", 3)):
        batches: list[list[int]] = []
        for inputs, labels, ids in loader:
            uses_all = not finds_unused or len(batches) % 2 == 0
            optimizer.zero_grad()
            nn.functional.cross_entropy(ddp(inputs, uses_all), labels).backward()
            optimizer.step()
            batches.append(ids.tolist())
        epochs.append(batches)
    return {
        "epochs": epochs,
        "num_samples": num_samples,
        "num_waiting": loader.statistics.samples_waiting,
        "statistics": loader.statistics.as_dict(),
        "num_passes": loss_impl.num_passes,
        "losses": loss_impl.losses,
        "history": loader.state_dict()["pipeline"]["history"].tolist(),
        "weights": [float(value.sum()) for value in model.parameters()],
    }


def make_group(scenario: dict[str, Any]) -> Any:
    """Return a group that cannot reduce CPU tensors, as one of NCCL alone, if one is asked for."""
    if not scenario.get("without_cpu_backend"):
        return None
    return distributed.new_group(backend="cuda:gloo")


def resume_everywhere(rank: int, size: int, options: dict[str, Any]) -> dict[str, Any]:
    """Interrupt a run after every batch, and continue it by a new loader."""

    def make_loader() -> SiftingDataloader:
        num_samples = 30 + 9 * rank
        return SiftingDataloader(
            make_config(history=64, delay=options["delay"], repeat=options["repeat"]),
            DataLoader(make_shard(rank, num_samples), batch_size=BATCH_SIZE),
            loss_impl=CrossEntropy(),
            model=model,
            seed=1,
            share_history=options["share_history"],
        )

    torch.manual_seed(5)
    model = Network()
    loader, whole, states = make_loader(), [], [(0, 0, save(make_loader()))]
    for epoch in range(3):
        for batch in loader:
            whole.append(batch[2].tolist())
            states.append((epoch, len(whole), save(loader)))
        states.append((epoch + 1, len(whole), save(loader)))
    rests = []
    for epoch, _, state in states:
        resumed = make_loader()
        resumed.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        rests.append([batch[2].tolist() for _ in range(epoch, 3) for batch in resumed])
    return {"whole": whole, "rests": rests, "num_done": [done for _, done, _ in states]}


def save(loader: SiftingDataloader) -> bytes:
    file = io.BytesIO()
    torch.save(loader.state_dict(), file)
    return file.getvalue()


def lose_a_rank(rank: int, size: int, options: dict[str, Any]) -> None:
    """Send a signal to the last rank's own process in the middle of an epoch."""
    torch.manual_seed(5)
    # Only what the loader waits in is impatient: processes may start seconds apart.
    group = distributed.new_group(timeout=timedelta(seconds=options["timeout_s"]))
    model = DistributedDataParallel(Network())
    loader = make_plain_loader(rank, model, process_group=group)
    for step, _ in enumerate(loader):
        if rank == size - 1 and step == 3:
            os.kill(os.getpid(), getattr(signal, options["signal"]))


def leave_early_on_one_rank(rank: int, size: int, options: dict[str, Any]) -> str:
    """Leave an epoch after two batches on the last rank only; return what the next ask says."""
    loader = make_plain_loader(rank, Network(), share_history=options.get("shares", False))
    try:
        for step, _ in enumerate(loader):
            if rank == size - 1 and step == 1:
                break
        for _ in loader:
            pass
    except RuntimeError as error:
        return str(error)
    return ""


def share_on_one_rank(rank: int, size: int, options: dict[str, Any]) -> str:
    try:
        list(make_plain_loader(rank, Network(), share_history=rank == 0))
    except RuntimeError as error:
        return str(error)
    return ""


def train_on_shared_data(rank: int, size: int, options: dict[str, Any]) -> list[list[int]]:
    """Iterate over the same data on every rank, or over shards; return the batches."""
    torch.manual_seed(5)
    loader = make_plain_loader(rank if options["is_sharded"] else 0, Network())
    return [batch[2].tolist() for _ in range(2) for batch in loader]


def make_plain_loader(shard: int, model: nn.Module, **arguments: Any) -> SiftingDataloader:
    return SiftingDataloader(
        make_config(),
        DataLoader(make_shard(shard, 50), batch_size=BATCH_SIZE),
        loss_impl=CrossEntropy(),
        model=model,
        seed=1,
        **arguments,
    )


def profile_scoring(rank: int, size: int, options: dict[str, Any]) -> dict[str, list[str]]:
    """Return the names of the collectives in a scoring pass, and in a training step."""
    from smart_sifting._core.scoring import score_batch

    torch.manual_seed(5)
    ddp: nn.Module = DistributedDataParallel(Network())
    if options["is_compiled"]:
        ddp = torch.compile(ddp, backend="eager")  # type: ignore[assignment] # a wrapper module
    batch = list(make_shard(rank, 8).tensors)

    def find_collectives(run: Any) -> list[str]:
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities) as profile:
            run()
        names = {event.key for event in profile.key_averages()}
        return sorted(name for name in names if "gloo" in name or "c10d" in name)

    def step() -> None:
        nn.functional.cross_entropy(ddp(batch[0]), batch[1]).backward()

    step()
    scoring = find_collectives(lambda: score_batch(CrossEntropy(), ddp, batch, batch))
    return {"scoring": scoring, "training": find_collectives(step)}


def score_a_sharded_model(rank: int, size: int, options: dict[str, Any]) -> str:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2))
    fully_shard(model, mesh=init_device_mesh("cpu", (size,)))
    try:
        next(iter(make_plain_loader(rank, model)))
    except ValueError as error:
        return str(error)
    return ""


class Shell(nn.Module):
    """A user's module around DDP."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.inner(inputs)


def train_with_hidden_ddp(rank: int, size: int, options: dict[str, Any]) -> dict[str, Any]:
    """Train where the scoring pass goes through DDP's own forward pass."""
    torch.manual_seed(5)
    ddp = DistributedDataParallel(Network())
    model: nn.Module = Shell(ddp) if options["place"] == "in the model" else ddp

    class OwnReference(CrossEntropy):
        def loss(self, model: Any, *batches: Any) -> torch.Tensor:
            return super().loss(ddp, *batches)

    loss_impl = CrossEntropy() if options["place"] == "in the model" else OwnReference()
    loader = SiftingDataloader(
        make_config(),
        DataLoader(make_shard(rank, 50 - 9 * rank), batch_size=BATCH_SIZE),
        loss_impl=loss_impl,
        model=model,
        seed=1,
    )
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
    num_steps = 0
    for _ in range(4):
        for inputs, labels, _ids in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            num_steps += 1
    return {
        "num_steps": num_steps,
        "num_passes": loss_impl.num_passes,
        "synchronises": ddp.require_forward_param_sync,
        "buffers": [float(buffer.sum()) for buffer in ddp.buffers()],
        "weights": [float(value.sum()) for value in ddp.parameters()],
    }


class Stream(IterableDataset[Any]):
    def __init__(self, rank: int, num_samples: int) -> None:
        self.samples = make_shard(rank, num_samples)

    def __iter__(self) -> Any:
        return iter(self.samples)


def train_on_streams(rank: int, size: int, options: dict[str, Any]) -> list[list[list[int]]]:
    """Iterate over streams of different length, which do not say it."""
    loader = SiftingDataloader(
        make_config(),
        DataLoader(Stream(rank, options["num_samples"][rank]), batch_size=BATCH_SIZE),
        loss_impl=CrossEntropy(),
        model=Network(),
        seed=1,
    )
    return [[batch[2].tolist() for batch in loader] for _ in range(2)]


def sift_differently(rank: int, size: int, options: dict[str, Any]) -> str:
    config = make_config(**{options["name"]: options["values"][rank]})
    wrapped = DataLoader(make_shard(rank, 50), batch_size=BATCH_SIZE)
    loader = SiftingDataloader(config, wrapped, loss_impl=CrossEntropy(), model=Network())
    try:
        list(loader)
    except RuntimeError as error:
        return str(error)
    return ""
