"""A small training that does all that a sifting loader asks of a loop, and can be continued."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting import IdentifiedDataset, Loss, SiftingDataloader
from tests.conformance.loader_suite import make_config

Step = tuple[list[int], list[float], float]


class CrossEntropy(Loss):
    def __init__(self) -> None:
        self.num_passes = 0

    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        self.num_passes += 1
        inputs, labels, _ = original_batch
        return nn.functional.cross_entropy(model(inputs), labels, reduction="none")


def make_network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))


def make_data(num_samples: int) -> TensorDataset:
    """Return inputs, labels that are easy to learn but for a few, and ids."""
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(num_samples, 3, generator=generator)
    is_wrong = torch.rand(num_samples, generator=generator) < 0.05
    labels = (inputs[:, 0] > 0) ^ is_wrong
    return TensorDataset(inputs, labels.long(), torch.arange(num_samples))


def change_config(
    config: dict[str, Any], *, base: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """Return a configuration with other values, ``base`` for its innermost part."""
    inner = config["loss_based_sift_config"]["sift_config"] | (base or {})
    return config | {"loss_based_sift_config": {"sift_config": inner}} | changes


class SiftedTraining:
    """Model, optimizer and loader; every step is noted by what it was given and what it did.

    Args:
        config: A sift configuration.
        num_samples: Of the data set.
        batch_size: Of the loader.
        tells_losses: Whether the loop tells its losses.
        has_ids: Whether the data set is wrapped in an ``IdentifiedDataset``.
        arguments: Further arguments of the SiftingDataloader.
    """

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        *,
        num_samples: int = 90,
        batch_size: int = 8,
        tells_losses: bool = True,
        has_ids: bool = True,
        **arguments: Any,
    ) -> None:
        torch.manual_seed(3)
        self.model = make_network()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.loss = CrossEntropy()
        self.tells_losses = tells_losses
        data: Any = make_data(num_samples)
        wrapped = DataLoader(
            IdentifiedDataset(data) if has_ids else data,
            batch_size=batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(11),
        )
        self.loader = SiftingDataloader(
            config or make_config(), wrapped, None, self.loss, self.model, seed=0, **arguments
        )

    def step(self, batch: Any) -> Step:
        """Train on a batch; return its ids, its weights, and the mean loss."""
        inputs, labels, ids = batch
        losses = nn.functional.cross_entropy(self.model(inputs), labels, reduction="none")
        if self.tells_losses:
            self.loader.record_losses(losses)
        loss = (losses * self.loader.weights).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return ids.tolist(), self.loader.weights.tolist(), loss.item()

    def parameters(self) -> torch.Tensor:
        """Return all parameters and buffers in one tensor."""
        return torch.cat([value.flatten().float() for value in self.model.state_dict().values()])

    def save(self) -> bytes:
        """Return the state as a file holds it."""
        parts = (self.model, self.optimizer, self.loader)
        file = io.BytesIO()
        torch.save([part.state_dict() for part in parts], file)
        return file.getvalue()

    def load(self, saved: bytes) -> None:
        """Continue from what :meth:`save` returned, read as data only."""
        states = torch.load(io.BytesIO(saved), weights_only=True)
        for part, state in zip((self.model, self.optimizer, self.loader), states, strict=True):
            part.load_state_dict(state)


def assert_resumed_equals_uninterrupted(
    make: Any, *, num_epochs: int = 3, every: int = 11
) -> SiftedTraining:
    """Train; continue from states within and between epochs; compare to the bit.

    Args:
        make: Returns a new training, always made alike.
        num_epochs: How many epochs.
        every: After how many steps a state is continued.

    Returns:
        The training that was not interrupted.
    """
    training: SiftedTraining = make()
    steps: list[Step] = []
    states = [(0, 0, training.save())]
    for epoch in range(num_epochs):
        for batch in training.loader:
            steps.append(training.step(batch))
            if len(steps) % every == 0:
                states.append((epoch, len(steps), training.save()))
        states.append((epoch + 1, len(steps), training.save()))
    for epoch, num_done, saved in states:
        resumed = make()
        resumed.load(saved)
        rest = [resumed.step(batch) for _ in range(epoch, num_epochs) for batch in resumed.loader]
        assert rest == steps[num_done:]
        assert torch.equal(resumed.parameters(), training.parameters())
        for name in ("num_batches", "samples_scored", "samples_forwarded", "samples_kept"):
            counts = (
                getattr(loader.statistics, name) for loader in (resumed.loader, training.loader)
            )
            assert len(set(counts)) == 1, name
        assert resumed.loader.progress == training.loader.progress
        assert resumed.loader.status == training.loader.status
    return training
