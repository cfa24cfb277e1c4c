import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.trainer.config import TrainingConfig, read_config
from sagemaker_sift.trainer.data.dataset import collate
from sagemaker_sift.trainer.data.image import Draw, TooSmall, Unreadable, read_image
from sagemaker_sift.trainer.data.loader import Batch, SequentialBatches, ShuffledBatches
from sagemaker_sift.trainer.data.preparation import TrainingData, prepare_data
from sagemaker_sift.trainer.errors import TrainingError
from tests.supports.trainer_data import fill_channel, make_root, write_image

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


def indices(batches: Iterator[list[Draw]]) -> list[int]:
    return [draw.idx for batch in batches for draw in batch]


def test_an_epoch_is_full_batches_of_distinct_images() -> None:
    sampler = ShuffledBatches(num_images=21, num_batches=4, batch_size=5, seed=0)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5]
    assert len(set(indices(iter(batches)))) == 20
    assert len(sampler) == 4


def test_order_and_augmentation_depend_on_seed_and_epoch_alone() -> None:
    def draws(seed: int, number: int) -> list[list[Draw]]:
        sampler = ShuffledBatches(num_images=20, num_batches=4, batch_size=5, seed=seed)
        sampler.set_epoch(number)
        torch.manual_seed(number + 100)
        return list(sampler)

    assert draws(3, 1) == draws(3, 1)
    assert indices(iter(draws(3, 1))) != indices(iter(draws(3, 2)))
    assert indices(iter(draws(3, 1))) != indices(iter(draws(4, 1)))


def test_the_augmentation_of_an_image_does_not_depend_on_its_place_in_the_epoch() -> None:
    chances = {
        size: {
            draw.idx: draw
            for batch in ShuffledBatches(
                num_images=20, num_batches=20 // size, batch_size=size, seed=0
            )
            for draw in batch
        }
        for size in (1, 5)
    }
    assert chances[1] == chances[5]
    assert len({draw.flip for draw in chances[1].values()}) == 20


def test_validation_visits_every_image_exactly_once() -> None:
    sampler = SequentialBatches(num_images=11, batch_size=4)
    assert indices(iter(sampler)) == list(range(11))
    assert [len(batch) for batch in sampler] == [4, 4, 3]
    assert len(sampler) == 3


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


def test_resize_makes_a_small_image_large_enough(tmp_path: Path) -> None:
    root = make_root(tmp_path, hyperparameters={"resize": "8"})
    fill_channel(root / "input/data/train", num_images=1, size=7)
    assert len(epoch(prepare(root), 0)) == 4


def test_an_iteration_ends_when_the_job_is_asked_to_stop(tmp_path: Path) -> None:
    assert epoch(prepare(make_root(tmp_path), is_stopping=True), 0) == []


def test_the_loader_counts_what_it_handed_out(tmp_path: Path) -> None:
    data = prepare(make_root(tmp_path))
    epoch(data, 0)
    epoch(data, 1)
    assert (data.train.num_seen, data.train.num_batches_seen) == (32, 4)


def test_iterating_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    data = prepare(make_root(tmp_path, hyperparameters={"augmentation_type": "crop"}))
    before = torch.random.get_rng_state()
    epoch(data, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_batch_without_usable_images_is_empty(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a/x.png", torch.zeros(4, 5, 3, dtype=torch.uint8).numpy())
    raw = collate([TooSmall(path, 4, 5)])
    assert (len(raw.labels), len(raw.images), raw.too_small[0].width) == (0, 0, 5)
