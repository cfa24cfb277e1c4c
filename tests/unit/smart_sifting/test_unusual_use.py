"""Beside the plain loop: copies, odd loaders, errors, checkpoints at odd times."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from smart_sifting import ListBatch, Loss, SiftingBatch, SiftingBatchTransform, SiftingDataloader
from tests.conformance.loader_suite import LossOfIds, make_config, reload
from tests.supports.sifting_loader import make_batches, make_loader, read_ids

KEEP_ALL = make_config(beta=1e-9)


def is_plain(batch: Any) -> bool:
    return type(batch) is list and all(type(part) is torch.Tensor for part in batch)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_another_default_dtype_changes_nothing(dtype: torch.dtype) -> None:
    expected = [read_ids(batch) for batch in make_loader(make_batches(20, 8))]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        loader = make_loader(make_batches(20, 8))
        assert [read_ids(batch) for batch in loader] == expected
        assert make_loader([]).statistics.loss_percentiles()
    finally:
        torch.set_default_dtype(before)


def test_another_default_device_changes_nothing() -> None:
    expected = [read_ids(batch) for batch in make_loader(make_batches(20, 8))]
    batches = make_batches(20, 8)

    class CpuLoss(LossOfIds):
        def loss(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            with torch.device("cpu"):
                return super().loss(*args, **kwargs)

    with torch.device("meta"):
        loader = make_loader(batches, loss=CpuLoss(read_ids))
        scored = [loader.statistics.samples_scored for _ in loader]
        percentiles = loader.statistics.loss_percentiles()
    assert len(scored) == len(expected)
    assert percentiles[2] > 0


def copy_by_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy_by_pickle])
def test_a_copy_of_a_fresh_loader_sifts_alike(duplicate: Any) -> None:
    loader = SiftingDataloader(
        make_config(), make_batches(), None, PicklableLoss(), torch.nn.Identity(), seed=0
    )
    copied = duplicate(loader)
    first = [read_ids(batch) for batch in loader]
    assert [read_ids(batch) for batch in copied] == first
    assert first


class PicklableLoss(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> torch.Tensor:
        return (original_batch[0].float() * 7919) % 101


def test_batches_grow_with_those_of_the_wrapped_loader() -> None:
    ids = torch.arange(4 + 64 * 9)
    batches = [[part, part * 2] for part in ids.split([4, *[64] * 9])]
    for config, first in ((make_config(beta=3.0), 64), (KEEP_ALL, 4)):
        sizes = [len(batch[0]) for batch in make_loader(batches, config=config)]
        assert sizes[0] == first
        assert set(sizes[1:-1]) <= {64}


def test_a_partial_last_batch_of_a_plain_list_does_not_shrink_the_others() -> None:
    ids = torch.arange(8 * 6 + 3)
    batches = [[part, part * 2] for part in ids.split(8)]
    loader = make_loader(batches, config=KEEP_ALL)
    assert [len(batch[0]) for batch in loader] == [8] * 6 + [3]
    sizes = [len(batch[0]) for batch in make_loader(batches)]
    assert set(sizes[:-1]) == {8}


def test_a_batch_sampler_that_counts_tokens_does_not_swallow_the_epoch() -> None:
    class TokenSampler(BatchSampler):
        """Its ``batch_size`` is a number of tokens."""

        def __init__(self) -> None:
            super().__init__(SequentialSampler(range(80)), 8, False)
            self.batch_size = 4096

        def __iter__(self) -> Iterator[list[int]]:
            return iter([list(range(begin, begin + 8)) for begin in range(0, 80, 8)])

        def __len__(self) -> int:
            return 10

    dataset = torch.utils.data.TensorDataset(torch.arange(80), torch.arange(80) * 2)
    loader = make_loader(DataLoader(dataset, batch_sampler=TokenSampler()))
    sizes = [len(batch[0]) for batch in loader]
    assert set(sizes[:-1]) == {8}
    assert len(sizes) > 3


def test_what_a_loss_does_to_its_batch_stays_there() -> None:
    class Pops(Loss):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            labels = original_batch.pop("labels")
            original_batch["inputs"] = original_batch["inputs"] * 0
            original_batch["nested"].clear()
            return (labels.float() * 7919) % 101

    ids = torch.arange(40)
    batches = [{"inputs": p * 1.0, "labels": p, "nested": [p * 3]} for p in ids.split(8)]
    loader = make_loader(batches, loss=Pops())
    for batch in loader:
        assert list(batch) == ["inputs", "labels", "nested"]
        assert batch["inputs"].tolist() == batch["labels"].tolist()
        assert batch["nested"][0].tolist() == (batch["labels"] * 3).tolist()
    assert loader.statistics.samples_sifted_out > 0


def test_a_user_batch_is_never_asked_for_no_samples() -> None:
    class Stacked(SiftingBatch):
        def __init__(self, values: torch.Tensor) -> None:
            self.values = values

        def select(self, sample_idx: Any) -> Any:
            return Stacked(torch.stack([self.values[idx] for idx in sample_idx]))

    class Transform(SiftingBatchTransform):
        def transform(self, batch: Any) -> Stacked:
            return Stacked(batch[0])

        def reverse_transform(self, sifting_batch: Any) -> Any:
            return [sifting_batch.values, sifting_batch.values * 2]

    loader = make_loader(
        make_batches(40, 4), config=make_config(beta=10.0), batch_transforms=Transform()
    )
    assert [read_ids(batch) for batch in loader]
    assert loader.statistics.samples_sifted_out > 100


class Interrupted(LossOfIds):
    """Raises once, when it has seen so many samples."""

    def __init__(self, at: int) -> None:
        super().__init__(read_ids)
        self.at = at

    def loss(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        losses = super().loss(*args, **kwargs)
        if len(self.seen) == self.at:
            raise KeyboardInterrupt
        return losses


def test_a_state_saved_after_an_interrupted_scoring_pass_loses_no_batch() -> None:
    whole = [read_ids(batch) for batch in make_loader(make_batches())]
    loader = make_loader(make_batches(), loss=Interrupted(at=24))
    yielded: list[list[int]] = []
    with pytest.raises(KeyboardInterrupt):
        yielded.extend(read_ids(batch) for batch in loader)
    resumed = make_loader(make_batches())
    resumed.load_state_dict(reload(loader.state_dict()))
    assert yielded + [read_ids(batch) for batch in resumed] == whole


def test_a_new_epoch_after_an_interrupted_one_begins_at_the_begin() -> None:
    loader = make_loader(make_batches(), loss=Interrupted(at=24), config=KEEP_ALL)
    with pytest.raises(KeyboardInterrupt):
        list(loader)
    ids = [i for batch in loader for i in read_ids(batch)]
    assert ids == list(range(48))


def test_an_error_of_reverse_transform_loses_no_sample() -> None:
    class FailsOnce(SiftingBatchTransform):
        has_failed = False

        def transform(self, batch: Any) -> ListBatch:
            return ListBatch(batch[0].tolist())

        def reverse_transform(self, sifting_batch: Any) -> Any:
            if not self.has_failed:
                self.has_failed = True
                raise ValueError("own error")
            ids = torch.tensor(sifting_batch.inputs)
            return [ids, ids * 2]

    loader = make_loader(make_batches(), config=KEEP_ALL, batch_transforms=FailsOnce())
    with pytest.raises(ValueError, match="own error"):
        next(iter(loader))
    assert loader.statistics.samples_waiting == 8
    resumed = make_loader(make_batches(), config=KEEP_ALL, batch_transforms=FailsOnce())
    resumed._run._pipeline._transforms.has_failed = True
    resumed.load_state_dict(reload(loader.state_dict()))
    assert [i for batch in resumed for i in read_ids(batch)] == list(range(48))


def test_an_epoch_left_early_is_continued_by_a_state_unless_it_was_ended() -> None:
    for is_ended in (False, True):
        loader = make_loader(make_batches(), config=KEEP_ALL)
        first = next(iter(loader))
        if is_ended:
            loader.end_epoch()
            loader.end_epoch()
        resumed = make_loader(make_batches(), config=KEEP_ALL)
        resumed.load_state_dict(reload(loader.state_dict()))
        ids = [i for batch in resumed for i in read_ids(batch)]
        assert ids == list(range(0 if is_ended else 8, 48))
        assert read_ids(first) == list(range(8))
        assert len(resumed.statistics.epochs) == (2 if is_ended else 1)


def test_the_rest_of_an_iteration_over_an_ended_epoch_is_refused() -> None:
    loader = make_loader(make_batches())
    batches = iter(loader)
    next(batches)
    loader.end_epoch()
    with pytest.raises(RuntimeError, match="Another iteration"):
        next(batches)


def test_leaving_an_epoch_lets_go_of_its_worker_processes() -> None:
    dataset = torch.utils.data.TensorDataset(torch.arange(80), torch.arange(80) * 2)
    loader = make_loader(DataLoader(dataset, batch_size=8, num_workers=1))
    before = set(multiprocessing.active_children())
    for _ in loader:
        assert len(set(multiprocessing.active_children()) - before) == 1
        break
    assert set(multiprocessing.active_children()) <= before


def test_modules_of_the_loss_are_in_eval_mode_too() -> None:
    class WithHead(Loss):
        def __init__(self) -> None:
            self.head = torch.nn.BatchNorm1d(1)

        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            return self.head(original_batch[0].float()[:, None])[:, 0]

    loss = WithHead()
    list(make_loader(make_batches(), loss=loss))
    assert loss.head.num_batches_tracked == 0
    assert loss.head.training


def test_the_delay_settles_how_batches_are_indexed() -> None:
    ids = torch.arange(82)
    batches = [[part, part * 2] for part in ids.split(8)]  # the last one has 2 samples, 2 features
    dataset = torch.utils.data.TensorDataset(ids, ids * 2)
    wrapped = DataLoader(dataset, batch_size=8)
    yielded = list(make_loader(wrapped, config=make_config(beta=1e-9, delay=10)))
    assert [read_ids(batch) for batch in yielded] == [part[0].tolist() for part in batches]
    assert all(is_plain(batch) for batch in yielded)


def test_the_selection_has_nothing_to_do_with_the_global_random_numbers() -> None:
    torch.manual_seed(0)
    numbers = torch.rand(2, 4000)
    ids = torch.arange(4000)
    batches = [[part, part * 2] for part in ids.split(4000)]

    class OfNumbers(Loss):
        def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
            return numbers[1]

    torch.manual_seed(0)
    loader = make_loader(batches, loss=OfNumbers(), seed=None, config=make_config(history=4000))
    kept = torch.tensor([i for batch in loader for i in read_ids(batch)])
    assert len(kept) / 4000 == pytest.approx(0.5, abs=0.03)
    assert numbers[1][kept].mean() == pytest.approx(2 / 3, abs=0.02)


class Numbers(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(range(10))


@pytest.mark.parametrize("wrapped", [zip([1], [2], strict=True), map(str, [1]), enumerate([1])])
def test_what_gives_one_epoch_only_is_told(wrapped: Any) -> None:
    with pytest.raises(TypeError, match="must be iterable once per epoch"):
        make_loader(wrapped)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": "a"}, "`seed` is 'a', but must be a whole number"),
        ({"seed": 1.5}, r"`seed` is 1\.5, but must be a whole number"),
        ({"share_history": "no"}, "`share_history` is 'no', but must be True or False"),
        ({"process_group": "x"}, "`process_group` is 'x', but must be what"),
    ],
)
def test_a_wrong_argument_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make_loader(make_batches(), **arguments)


@pytest.mark.parametrize("seed", [2**70, -5, 0])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert list(make_loader(make_batches(), seed=seed))


@pytest.mark.parametrize("num_epochs", [1.5, -1])
def test_a_wrong_number_of_epochs_is_told(num_epochs: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="`num_epochs` is"):
        make_loader(make_batches()).expected_len(num_epochs)


@pytest.mark.parametrize("key", ["rank", "wrapped", "pipeline", "held"])
def test_a_state_without_a_part_changes_nothing(key: str) -> None:
    loader = make_loader(make_batches())
    state = loader.state_dict()
    del state[key]
    with pytest.raises(ValueError, match=f"`state_dict` misses {key}"):
        loader.load_state_dict(state)
    with pytest.raises(ValueError, match="has version None"):
        loader.load_state_dict(None)  # type: ignore[arg-type] # the mistake
    assert list(loader)


def test_a_state_of_a_loader_with_a_generator_needs_one() -> None:
    dataset = torch.utils.data.TensorDataset(torch.arange(80), torch.arange(80) * 2)
    generator = torch.Generator().manual_seed(0)
    shuffled = DataLoader(dataset, batch_size=8, shuffle=True, generator=generator)
    state = make_loader(shuffled).state_dict()
    with pytest.raises(ValueError, match=r"1 generator\(s\), but the wrapped loader has 0"):
        make_loader(DataLoader(dataset, batch_size=8)).load_state_dict(state)


@pytest.mark.parametrize("drop_last", [False, True])
def test_the_expected_length_is_the_mean(drop_last: bool) -> None:
    dataset = torch.utils.data.TensorDataset(torch.arange(80), torch.arange(80) * 2)
    wrapped = DataLoader(dataset, batch_size=8, drop_last=drop_last)
    counts = []
    for seed in range(12):
        loader = make_loader(wrapped, seed=seed, config=make_config(history=80))
        counts.append(sum(1 for _ in range(20) for _ in loader))
    expected = make_loader(wrapped).expected_len(20)
    assert expected == pytest.approx(sum(counts) / len(counts), rel=0.03)
