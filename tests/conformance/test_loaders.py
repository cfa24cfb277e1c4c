from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from smart_sifting import ListBatch, SiftingBatchTransform, SiftingDataloader, TensorBatch
from tests.conformance.loader_suite import LoaderSuite, LossOfIds, make_config


class Samples(Dataset[Any]):
    """Samples 0 .. n - 1 in the form that ``form`` gives them."""

    def __init__(self, num_samples: int, form: Any) -> None:
        self.num_samples = num_samples
        self.form = form

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, idx: int) -> Any:
        return self.form(idx)


class Stream(IterableDataset[Any]):
    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.arange(self.num_samples))


def as_dict(idx: int) -> dict[str, Any]:
    return {"id": torch.tensor(idx), "name": str(idx), "nested": {"id": idx}}


def as_list(samples: list[Any]) -> list[Any]:
    return samples


class SiftedLoaderSuite(LoaderSuite):
    config: dict[str, Any] = make_config()
    transforms: SiftingBatchTransform | None = None

    def make_wrapped(self) -> Any:
        ids = torch.arange(self.num_samples)
        return DataLoader(TensorDataset(ids, ids.float()[:, None]), batch_size=self.batch_size)

    def make_loader(self) -> SiftingDataloader:
        return SiftingDataloader(
            self.config,
            self.make_wrapped(),
            self.transforms,
            LossOfIds(self.read_ids),
            torch.nn.Identity(),
            seed=3,
        )

    def read_ids(self, batch: Any) -> list[int]:
        assert isinstance(batch, list)
        ids: list[int] = batch[0].tolist()
        assert batch[1][:, 0].tolist() == ids
        return ids


class TestListOfTensors(SiftedLoaderSuite):
    pass


class TestTensor(SiftedLoaderSuite):
    def make_wrapped(self) -> Any:
        return DataLoader(Samples(self.num_samples, torch.tensor), batch_size=self.batch_size)

    def read_ids(self, batch: Any) -> list[int]:
        ids: list[int] = batch.tolist()
        return ids


class TestDict(SiftedLoaderSuite):
    def make_wrapped(self) -> Any:
        return DataLoader(Samples(self.num_samples, as_dict), batch_size=self.batch_size)

    def read_ids(self, batch: Any) -> list[int]:
        assert type(batch) is dict
        ids: list[int] = batch["id"].tolist()
        assert batch["name"] == [str(i) for i in ids]
        assert batch["nested"]["id"].tolist() == ids
        return ids


class TestListBySample(SiftedLoaderSuite):
    def make_wrapped(self) -> Any:
        dataset = Samples(self.num_samples, as_dict)
        return DataLoader(dataset, batch_size=self.batch_size, collate_fn=as_list)

    def read_ids(self, batch: Any) -> list[int]:
        assert [sample["name"] for sample in batch] == [str(int(s["id"])) for s in batch]
        return [int(sample["id"]) for sample in batch]


class TestListBatchTransform(SiftedLoaderSuite):
    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> ListBatch:
            return ListBatch(list(batch[0]), batch[1][:, 0].tolist())

        def reverse_transform(self, sifting_batch: Any) -> Any:
            assert sifting_batch.inputs
            labels = torch.tensor(sifting_batch.labels)
            return [torch.stack(sifting_batch.inputs), labels[:, None]]

    transforms = Transform()


class TestTensorBatchTransform(SiftedLoaderSuite):
    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> TensorBatch:
            return TensorBatch(batch[1], batch[0])

        def reverse_transform(self, sifting_batch: Any) -> Any:
            return [sifting_batch.labels, sifting_batch.inputs]

    transforms = Transform()


class TestShuffledByAGenerator(SiftedLoaderSuite):
    is_shuffled = True

    def make_wrapped(self) -> Any:
        ids = torch.arange(self.num_samples)
        return DataLoader(
            TensorDataset(ids, ids.float()[:, None]),
            batch_size=self.batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(11),
        )


class TestDropLast(SiftedLoaderSuite):
    drops_last = True

    def make_wrapped(self) -> Any:
        ids = torch.arange(self.num_samples)
        dataset = TensorDataset(ids, ids.float()[:, None])
        return DataLoader(dataset, batch_size=self.batch_size, drop_last=True)

    def test_yields_no_partial_batch(self) -> None:
        assert {len(self.read_ids(batch)) for batch in self.make_loader()} == {self.batch_size}


class TestIterableDatasetWithoutLength(SiftedLoaderSuite):
    def make_wrapped(self) -> Any:
        return DataLoader(Stream(self.num_samples), batch_size=self.batch_size)

    def read_ids(self, batch: Any) -> list[int]:
        ids: list[int] = batch.tolist()
        return ids


class TestPlainListOfBatches(SiftedLoaderSuite):
    def make_wrapped(self) -> Any:
        ids = torch.arange(self.num_samples)
        return [[part, part.float()[:, None]] for part in ids.split(self.batch_size)]


class TestDelayOverTheTraining(SiftedLoaderSuite):
    config = make_config(delay=9)


class TestDelayInEveryEpoch(SiftedLoaderSuite):
    config = make_config(delay=3, repeat=True, beta=2.0)


class TestLongerBatchThanHistory(SiftedLoaderSuite):
    config = make_config(history=5)


class TestWorkers(SiftedLoaderSuite):
    num_samples = 19

    def make_wrapped(self) -> Any:
        ids = torch.arange(self.num_samples)
        dataset = TensorDataset(ids, ids.float()[:, None])
        return DataLoader(dataset, batch_size=self.batch_size, num_workers=1)
