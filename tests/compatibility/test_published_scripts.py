"""What the published client scripts rely on, each pattern in our own words on a tiny model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting.data_model.data_model_interface import SiftingBatch, SiftingBatchTransform
from smart_sifting.data_model.list_batch import ListBatch
from smart_sifting.data_model.tensor_batch import TensorBatch
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftingBaseConfig,
)

NUM_SAMPLES = 96
NUM_TOKENS = 5


def make_config(beta: float = 1, delay: int = 0) -> RelativeProbabilisticSiftConfig:
    return RelativeProbabilisticSiftConfig(
        beta_value=beta,
        loss_history_length=500,
        loss_based_sift_config=LossConfig(sift_config=SiftingBaseConfig(sift_delay=delay)),
    )


class TextModel(torch.nn.Module):
    """Classifies from token ids and a mask; takes a batch or keyword arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 4)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, batch: Any) -> torch.Tensor:
        ids, mask = batch[0], batch[1]
        logits: torch.Tensor = self.head((self.embedding(ids) * mask[..., None]).sum(1))
        return logits


def make_text(num_samples: int = NUM_SAMPLES) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(20, (num_samples, NUM_TOKENS), generator=generator)
    # The label can be found again in the ids, to see that fields stay together.
    return TensorDataset(ids, torch.ones_like(ids), ids[:, 0] % 2)


class TextLoss(Loss):
    def __init__(self) -> None:
        self.celoss = torch.nn.CrossEntropyLoss(reduction="none")

    def loss(
        self, model: torch.nn.Module, transformed_batch: SiftingBatch, original_batch: Any = None
    ) -> torch.Tensor:
        device = next(model.parameters()).device
        batch = [values.to(device) for values in original_batch]
        loss: torch.Tensor = self.celoss(model(batch), batch[2])
        return loss


def train_text(loader: SiftingDataloader, model: torch.nn.Module) -> int:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    num_trained = 0
    for batch in loader:
        ids, mask, labels = batch
        assert torch.equal(labels, ids[:, 0] % 2)
        assert torch.equal(mask, torch.ones_like(ids))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), labels).backward()
        optimizer.step()
        num_trained += len(labels)
    assert any(
        not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)
    )
    return num_trained


@pytest.mark.parametrize("batch_size", [32, 7])
def test_three_tensors_with_the_default_transform_come_back_as_three_tensors(
    batch_size: int,
) -> None:
    model = TextModel()
    loader = SiftingDataloader(
        sift_config=make_config(),
        orig_dataloader=DataLoader(make_text(), batch_size=batch_size, shuffle=True),
        loss_impl=TextLoss(),
        model=model,
    )
    num_trained = train_text(loader, model)
    assert 0 < num_trained < NUM_SAMPLES
    assert num_trained == NUM_SAMPLES - loader.statistics.samples_sifted_out


def test_a_list_transform_with_tuples_of_tensors_and_python_labels() -> None:
    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> SiftingBatch:
            inputs = [(batch[0][i], batch[1][i]) for i in range(len(batch[0]))]
            return ListBatch(inputs, batch[2].tolist())

        def reverse_transform(self, list_batch: Any) -> Any:
            ids = torch.stack([pair[0] for pair in list_batch.inputs])
            mask = torch.stack([pair[1] for pair in list_batch.inputs])
            return [ids, mask, torch.tensor(list_batch.labels)]

    model = TextModel()
    loader = SiftingDataloader(
        sift_config=make_config(beta=3, delay=2),
        orig_dataloader=DataLoader(make_text(), batch_size=8),
        batch_transforms=Transform(),
        loss_impl=TextLoss(),
        model=model,
        log_batch_data=False,
    )
    assert 16 < train_text(loader, model) < NUM_SAMPLES


def make_images() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {"pixel_values": torch.rand(3, 4, 4, generator=generator), "labels": torch.tensor(i % 2)}
        for i in range(NUM_SAMPLES)
    ]


class ImageModel(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(48, 2)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> Any:
        logits = self.head(pixel_values.flatten(1))
        return torch.nn.functional.cross_entropy(logits, labels), logits


class ImageLoss(Loss):
    def loss(
        self, model: torch.nn.Module, transformed_batch: SiftingBatch, original_batch: Any = None
    ) -> torch.Tensor:
        device = next(model.parameters()).device
        batch = {name: values.to(device) for name, values in original_batch.items()}
        _, logits = model(**batch)
        return torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="none")


def test_dict_batches_by_a_list_transform_with_a_loader_built_before_the_model_moves() -> None:
    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> SiftingBatch:
            return ListBatch(list(batch["pixel_values"]), list(batch["labels"]))

        def reverse_transform(self, list_batch: Any) -> Any:
            inputs = torch.stack(list_batch.inputs) if list_batch.inputs else torch.tensor([])
            labels = torch.stack(list_batch.labels) if list_batch.labels else torch.tensor([])
            return {"pixel_values": inputs, "labels": labels}

    model = ImageModel()
    loader = SiftingDataloader(
        sift_config=make_config(beta=3),
        orig_dataloader=DataLoader(make_images(), batch_size=8),  # type: ignore[arg-type]
        batch_transforms=Transform(),
        loss_impl=ImageLoss(),
        model=model,
    )
    model.to(torch.float64).to(torch.float32).to("cpu")
    sizes = [len(batch["labels"]) for _ in range(2) for batch in loader]
    assert all(size > 0 for size in sizes)
    assert sum(sizes) == 2 * NUM_SAMPLES - loader.statistics.samples_sifted_out


def test_the_model_may_move_to_another_device_after_the_loader_was_built() -> None:
    class MetaLoss:
        """Scores where the model is; the losses come back to the CPU."""

        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            self.device = next(model.parameters()).device
            return original_batch["labels"].double()

    model, loss = ImageModel(), MetaLoss()
    loader = SiftingDataloader(
        make_config(),
        DataLoader(make_images(), batch_size=8),  # type: ignore[arg-type]
        loss_impl=loss,
        model=model,
    )
    next(iter(loader))
    assert loss.device.type == "cpu"
    model.to("meta")
    next(iter(loader))
    assert loss.device.type == "meta"


def test_a_list_batch_without_labels() -> None:
    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> SiftingBatch:
            return ListBatch(batch[0].tolist())

        def reverse_transform(self, list_batch: Any) -> Any:
            return torch.tensor(list_batch.inputs)

    loader = SiftingDataloader(
        make_config(), DataLoader(make_text(), batch_size=8), Transform(), TextLoss(), TextModel()
    )
    kept = torch.cat(list(loader))
    assert len(kept) == NUM_SAMPLES - loader.statistics.samples_sifted_out


@pytest.mark.parametrize("kind", ["list", "tensor"])
def test_a_transform_that_drops_a_field(kind: str) -> None:
    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> SiftingBatch:
            if kind == "list":
                return ListBatch(batch[0].tolist(), batch[-1].tolist())
            return TensorBatch(batch[0], batch[-1])

        def reverse_transform(self, sifting_batch: Any) -> Any:
            inputs, labels = sifting_batch.inputs, sifting_batch.labels
            return [torch.as_tensor(inputs), torch.as_tensor(labels)]

    class MasklessLoss(Loss):
        def loss(
            self, model: Any, transformed_batch: Any, original_batch: Any = None
        ) -> torch.Tensor:
            if kind == "tensor":
                assert [values.shape[0] for values in transformed_batch] == [8, 8]
            return torch.nn.functional.cross_entropy(
                model(original_batch), original_batch[2], reduction="none"
            )

    loader = SiftingDataloader(
        make_config(),
        DataLoader(make_text(), batch_size=8),
        Transform(),
        MasklessLoss(),
        TextModel(),
    )
    batches = list(loader)
    assert {len(batch) for batch in batches} == {2}
    assert all(torch.equal(labels, ids[:, 0] % 2) for ids, labels in batches)


def test_a_loss_that_subclasses_nothing_and_gives_one_loss_per_output() -> None:
    class OutputLoss:
        def __init__(self) -> None:
            self.mse = torch.nn.MSELoss(reduction="none")

        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            labels = original_batch.get("labels")
            _, logits = model(**original_batch)
            loss = self.mse(logits, labels[:, None].expand(-1, 2).float())
            assert loss.shape == (8, 2)
            return loss

    loader = SiftingDataloader(
        sift_config=make_config(),
        orig_dataloader=DataLoader(make_images(), batch_size=8),  # type: ignore[arg-type]
        loss_impl=OutputLoss(),
        model=ImageModel(),
    )
    batches = list(loader)
    assert all(set(batch) == {"pixel_values", "labels"} for batch in batches)
    assert 0 < loader.statistics.samples_sifted_out < NUM_SAMPLES


def test_configurations_as_dicts_at_every_level() -> None:
    for base in ({"sift_delay": 4}, SiftingBaseConfig(sift_delay=4)):
        for loss_config in ({"sift_config": base}, LossConfig(sift_config=base)):  # type: ignore[arg-type]
            config = {
                "beta_value": 0.5,
                "loss_history_length": 500,
                "loss_based_sift_config": loss_config,
            }
            loader = SiftingDataloader(
                sift_config=config,
                orig_dataloader=DataLoader(make_text(), batch_size=8),
                loss_impl=TextLoss(),
                model=TextModel(),
            )
            list(loader)
            assert loader.statistics.samples_scored == NUM_SAMPLES - 4 * 8
