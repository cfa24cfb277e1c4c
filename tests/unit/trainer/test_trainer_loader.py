import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.config import TrainingConfig, read_config
from sagemaker_sift.trainer.data.dataset import Draws
from sagemaker_sift.trainer.data.image import Unreadable, read_image
from sagemaker_sift.trainer.data.loader import Batch, ImageLoader
from sagemaker_sift.trainer.data.order import BatchShare, SequentialBatches, ShuffledBatches
from sagemaker_sift.trainer.data.preparation import TrainingData, prepare_data
from sagemaker_sift.trainer.errors import TrainingError
from tests.supports.trainer_data import fill_channel, make_root

CPU = torch.device("cpu")


def prepare(
    root: Path, *, in_memory: bool = True, is_stopping: bool = False, num_cpus: int = 2
) -> TrainingData:
    config: TrainingConfig = read_config(ContainerPaths(root), {})
    changed = dataclasses.replace(
        config,
        decoded_budget_bytes=config.decoded_budget_bytes if in_memory else 0,
        num_cpus=num_cpus,
    )
    return prepare_data(changed, device=CPU, is_stopping=lambda: is_stopping)


def epoch(data: TrainingData, number: int) -> list[Batch]:
    data.train.set_epoch(number)
    return list(data.train)


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        for a, b in zip(left, right, strict=True)
    )


def indices(batches: Iterable[Draws]) -> list[int]:
    return [int(idx) for batch in batches for idx in batch.indices]


def shuffled(
    *, share: BatchShare | None = None, batch_size: int = 5, seed: int = 0, num_images: int = 20
) -> ShuffledBatches:
    return ShuffledBatches(
        num_images=num_images,
        num_batches=num_images // batch_size,
        share=share or BatchShare(0, batch_size, batch_size),
        seed=seed,
        num_chances=3,
    )


def test_an_epoch_is_full_batches_of_distinct_images() -> None:
    order = shuffled(num_images=21)
    batches = list(order)
    assert [len(batch.indices) for batch in batches] == [5, 5, 5, 5]
    assert len(set(indices(batches))) == 20
    assert len(order) == 4


def test_order_and_augmentation_depend_on_seed_and_epoch_alone() -> None:
    def draws(seed: int, number: int) -> list[tuple[bytes, bytes]]:
        order = shuffled(seed=seed)
        order.set_epoch(number)
        torch.manual_seed(number + 100)
        return [(batch.indices.tobytes(), batch.chances.tobytes()) for batch in order]

    assert draws(3, 1) == draws(3, 1)
    assert draws(3, 1)[0] != draws(3, 2)[0]
    assert draws(3, 1)[0] != draws(4, 1)[0]


def test_every_sample_has_chances_of_its_own() -> None:
    chances = np.concatenate([batch.chances for batch in shuffled(batch_size=4)])
    assert chances.shape == (20, 3)
    assert len(np.unique(chances)) == 60
    assert 0 <= chances.min() < chances.max() < 1


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_share_the_very_batches_of_one_process(num_ranks: int) -> None:
    whole = list(shuffled())
    parts = [
        list(
            shuffled(
                share=BatchShare.of(
                    5, num_hosts=1, host_idx=0, num_local=num_ranks, local_rank=rank
                )
            )
        )
        for rank in range(num_ranks)
    ]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert np.concatenate([part.indices for part in shares]).tolist() == batch.indices.tolist()
        assert np.array_equal(np.concatenate([part.chances for part in shares]), batch.chances)


def test_machines_multiply_the_batch() -> None:
    shares = [
        BatchShare.of(4, num_hosts=2, host_idx=host, num_local=2, local_rank=rank)
        for host in (0, 1)
        for rank in (0, 1)
    ]
    assert [(share.start, share.stop) for share in shares] == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert {share.job_size for share in shares} == {8}


def test_an_order_goes_on_where_it_is_told_to_once() -> None:
    order = shuffled()
    whole = [batch.chances.tobytes() for batch in order]
    order.first_batch = 3
    assert [batch.chances.tobytes() for batch in order] == whole[3:]
    assert [batch.chances.tobytes() for batch in order] == whole


def test_validation_visits_every_image_exactly_once() -> None:
    order = SequentialBatches(num_images=11, share=BatchShare(0, 4, 4))
    assert indices(order) == list(range(11))
    assert [len(batch.indices) for batch in order] == [4, 4, 3]
    assert len(order) == 3


def test_ranks_validate_every_image_exactly_once_in_as_many_batches() -> None:
    orders = [
        SequentialBatches(num_images=9, share=BatchShare(start, start + 2, 6))
        for start in (0, 2, 4)
    ]
    assert sorted(indices(batch for order in orders for batch in order)) == list(range(9))
    assert [[len(batch.indices) for batch in order] for order in orders] == [
        [2, 2],
        [2, 1],
        [2, 0],
    ]


@pytest.mark.parametrize("augmentation", ["crop", ""])
def test_worker_processes_give_the_batches_that_memory_gives(
    tmp_path: Path, augmentation: str
) -> None:
    root = make_root(tmp_path, hyperparameters={"augmentation_type": augmentation})
    in_memory = prepare(root)
    streamed = prepare(root, in_memory=False)
    for number in (0, 1):
        assert same(epoch(in_memory, number), epoch(streamed, number))
    assert in_memory.validation is not None
    assert streamed.validation is not None
    assert same(list(in_memory.validation), list(streamed.validation))


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"augmentation_type": "crop"})
    one, two = (prepare(root, in_memory=False, num_cpus=number) for number in (1, 2))
    assert same(epoch(one, 5), epoch(two, 5))


def test_crop_moves_and_mirrors_images_and_no_augmentation_does_not(tmp_path: Path) -> None:
    plain = make_root(tmp_path / "plain")
    cropped = make_root(tmp_path / "crop", hyperparameters={"augmentation_type": "crop"})

    def distinct(root: Path) -> int:
        data = prepare(root)
        images = [batch.images for number in range(4) for batch in epoch(data, number)]
        return len({image.numpy().tobytes() for image in torch.cat(images)})

    assert distinct(plain) == 32
    assert distinct(cropped) > 64


def test_validation_images_are_never_augmented(tmp_path: Path) -> None:
    passes = []
    for augmentation in ("", "crop"):
        root = make_root(
            tmp_path / f"with-{augmentation}", hyperparameters={"augmentation_type": augmentation}
        )
        data = prepare(root)
        assert data.validation is not None
        passes.append(list(data.validation))
    assert same(*passes)
    image_HWC = read_image(
        root / "input/data/validation/class0/0000.jpg", num_channels=3, resize=None
    )
    assert not isinstance(image_HWC, Unreadable)
    expected_CHW = image_HWC[1:9, 1:9].transpose(2, 0, 1)
    assert np.array_equal(passes[0][0].images[0].numpy(), expected_CHW)


def test_batches_are_uint8_with_channels_first(tmp_path: Path) -> None:
    batch = epoch(prepare(make_root(tmp_path)), 0)[0]
    assert batch.images.shape == (8, 3, 8, 8)
    assert batch.images.dtype == torch.uint8
    assert batch.labels.dtype == torch.int64
    brightest_B = batch.images.float().mean(dim=(2, 3)).argmax(dim=1)
    assert torch.equal(brightest_B, batch.labels)


def test_fewer_training_samples_than_images_shorten_the_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_root(tmp_path, hyperparameters={"num_training_samples": "20"})
    data = prepare(root)
    assert len(data.train) == 2
    assert "num_training_samples is 20, but channel 'train' has 32" in caplog.text
    seen = {
        image.numpy().tobytes() for n in range(8) for b in epoch(data, n) for image in b.images
    }
    assert len(seen) > 20


def test_more_training_samples_than_images_do_not_lengthen_it(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"num_training_samples": "1000"})
    assert len(prepare(root).train) == 4


def test_a_batch_larger_than_the_channel_is_refused(tmp_path: Path) -> None:
    root = make_root(
        tmp_path, hyperparameters={"num_training_samples": "64", "mini_batch_size": "40"}
    )
    with pytest.raises(TrainingError, match=r"`mini_batch_size` is 40, but .* only 32 images"):
        prepare(root)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_unreadable_image_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, in_memory: bool
) -> None:
    root = make_root(tmp_path, hyperparameters={"num_training_samples": "32"})
    (root / "input/data/train/class0/0003.jpg").write_text("no image")
    data = prepare(root, in_memory=in_memory)
    sizes = [len(batch.labels) for number in (0, 1) for batch in epoch(data, number)]
    assert sum(sizes) == (48 if in_memory else 62)
    assert caplog.text.count("Skipping an unreadable image") == 1
    assert "class0/0003.jpg" in caplog.text


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_image_smaller_than_the_crop_is_an_error(tmp_path: Path, in_memory: bool) -> None:
    root = make_root(tmp_path)
    fill_channel(root / "input/data/train", num_images=1, size=7)
    with pytest.raises(
        TrainingError, match=r"0000\.jpg is 7 x 7 pixels .* `image_shape` 3,8,8\. Set resize to 8"
    ):
        epoch(prepare(root, in_memory=in_memory), 0)


def test_fewer_samples_than_a_batch_name_the_number_that_is_too_small(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"num_training_samples": "9"})
    resources = {"current_host": "a", "hosts": ["a", "b"]}
    (root / "input/config/resourceconfig.json").write_text(json.dumps(resources))
    with pytest.raises(
        TrainingError, match=r"is 8 times 2 machines, but num_training_samples is 9 .* Use 4 or"
    ):
        prepare(root)


def test_resize_makes_a_small_image_large_enough(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"resize": "8"})
    fill_channel(root / "input/data/train", num_images=1, size=7)
    assert len(epoch(prepare(root), 0)) == 4


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_loader_goes_on_within_an_epoch(tmp_path: Path, in_memory: bool) -> None:
    root = make_root(tmp_path, hyperparameters={"augmentation_type": "crop"})
    data, again = (prepare(root, in_memory=in_memory) for _ in range(2))
    whole = epoch(data, 3)
    data.train.set_epoch(3)
    batches = iter(data.train)
    read = [next(batches), next(batches)]
    state = data.train.state_dict()
    assert state == {"num_batches": 2, "num_seen": 16}
    again.train.load_state_dict(state)
    assert again.train.state_dict() == state
    assert same([*read, *epoch(again, 3)], whole)
    assert (again.train.num_seen, again.train.num_batches_seen) == (32, 4)
    assert same(epoch(again, 3), whole)


def test_the_loader_counts_what_it_handed_out(tmp_path: Path) -> None:
    data = prepare(make_root(tmp_path))
    epoch(data, 0)
    epoch(data, 1)
    assert (data.train.num_seen, data.train.num_batches_seen) == (32, 4)


def test_counting_begins_with_the_epoch_and_not_with_its_first_batch(tmp_path: Path) -> None:
    data = prepare(make_root(tmp_path))
    epoch(data, 0)
    data.train.set_epoch(1)
    batches = iter(data.train)
    assert data.train.state_dict() == {"num_batches": 0, "num_seen": 0}
    next(batches)
    assert data.train.state_dict() == {"num_batches": 1, "num_seen": 8}


def test_iterating_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    data = prepare(make_root(tmp_path, hyperparameters={"augmentation_type": "crop"}))
    before = torch.random.get_rng_state()
    epoch(data, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("yields_empty", [False, True])
def test_a_batch_without_usable_images_is_handed_out_only_to_one_of_many(
    tmp_path: Path, yields_empty: bool
) -> None:
    root = make_root(tmp_path, hyperparameters={"max_corrupt_fraction": "1"})
    for path in sorted((root / "input/data/validation").rglob("*.jpg"))[:8]:
        path.write_text("no image")
    data = prepare(root, in_memory=False)
    assert isinstance(data.validation, ImageLoader)
    data.validation._yields_empty = yields_empty
    sizes = [len(batch.labels) for batch in data.validation]
    assert sizes == ([0, 2] if yields_empty else [2])
