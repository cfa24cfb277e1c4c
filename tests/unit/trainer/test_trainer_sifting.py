import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.sifting_report import SiftingReport
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.data.loader import Batch
from sagemaker_sift.trainer.data.preparation import prepare_data
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.objective import CrossEntropy
from sagemaker_sift.trainer.precision import Precision
from sagemaker_sift.trainer.ranks import Ranks
from sagemaker_sift.trainer.sifting import (
    ImageBatchTransform,
    LossPerSample,
    SiftedLoader,
    build_sift_config,
)
from sagemaker_sift.trainer.trainee import build_trainee
from smart_sifting.data_model.tensor_batch import TensorBatch
from tests.supports.trainer_data import make_root

CPU = torch.device("cpu")


def make_loader(root: Path, *, num_images: int = 16, **hyperparameters: str) -> SiftedLoader:
    given = {"num_training_samples": str(2 * num_images), "beta_value": "1"}
    given |= {"unsifted_share": "0", "stop_if_slower": "False"}  # tiny images never pay
    given |= hyperparameters
    make_root(root, hyperparameters=given, num_images=num_images)
    config = dataclasses.replace(read_config(ContainerPaths(root), {}), num_cpus=1)
    data = prepare_data(config, device=CPU, is_stopping=lambda: False)
    trainee = build_trainee(config.hyperparameters, device=CPU, ranks=Ranks())
    return SiftedLoader(data.train, trainee, config.hyperparameters)


def report_of(loader: SiftedLoader) -> SiftingReport:
    report = loader.report()
    assert report is not None
    return report


def sizes(batches: Iterator[Batch]) -> list[int]:
    return [len(batch.labels) for batch in batches]


def test_the_loss_is_the_cross_entropy_of_each_sample() -> None:
    model = build_model(20, (3, 8, 8), 2).eval()
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 1])
    losses = LossPerSample(CrossEntropy(), Precision("float32", CPU)).loss(
        model, TensorBatch(images, labels)
    )
    expected = [
        functional.cross_entropy(model(to_input(images[idx : idx + 1])), labels[idx : idx + 1])
        for idx in range(3)
    ]
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-5, atol=1e-3)


def test_a_batch_goes_to_the_library_and_back_without_a_copy() -> None:
    batch = Batch(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    transform = ImageBatchTransform()
    restored = transform.reverse_transform(transform.transform(batch))
    assert isinstance(restored, Batch)
    assert restored.images is batch.images
    assert restored.labels is batch.labels


@pytest.mark.parametrize(("delay", "expected"), [("0", 0), ("3", 3)])
def test_the_delay_is_that_which_is_set(tmp_path: Path, delay: str, expected: int) -> None:
    loader = make_loader(tmp_path, sift_delay=delay)
    for _ in range(3):
        list(loader)
    assert report_of(loader).samples_scored == 3 * 32 - 8 * expected


@pytest.mark.parametrize("learned", [False, True])
def test_without_a_delay_the_losses_say_when_sifting_starts(tmp_path: Path, learned: bool) -> None:
    loader = make_loader(tmp_path, num_images=64, mini_batch_size="64")
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        for _, labels in loader:
            losses = torch.rand(len(labels), generator=generator)
            loader.record_losses(losses**50 if learned else losses)
    assert (report_of(loader).samples_scored > 0) == learned
    told = report_of(loader).status
    assert told.startswith("on, scored by" if learned else "waiting, as the samples")


def test_the_last_epochs_pass_unsifted(tmp_path: Path) -> None:
    loader = make_loader(tmp_path, sift_delay="0", unsifted_share="0.5", epochs="4")
    kept = []
    for _ in range(4):
        list(loader)
        kept.append(loader.num_kept / loader.num_seen)
    assert max(kept[:2]) < 1
    assert kept[2:] == [1, 1]


def test_losses_of_the_last_visit_need_no_scoring(tmp_path: Path) -> None:
    loader = make_loader(tmp_path, sift_delay="4", scoring="last_visit")
    for _ in range(3):
        for _, labels in loader:
            loader.record_losses(torch.ones(len(labels)))
    statistics = loader.statistics
    assert statistics.samples_scored == 2 * 32
    assert statistics.samples_forwarded == 0


def test_weights_are_given_only_if_they_are_asked_for(tmp_path: Path) -> None:
    assert make_loader(tmp_path / "plain", sift_delay="0").weights is None
    loader = make_loader(tmp_path / "weighted", sift_delay="0", weighting="inverse")
    for _, labels in loader:
        assert loader.weights is not None
        assert loader.weights.shape == labels.shape
        assert 0.5 <= float(loader.weights.min()) <= float(loader.weights.max()) <= 5


def test_the_configuration_carries_every_hyperparameter(tmp_path: Path) -> None:
    make_root(
        tmp_path,
        hyperparameters={
            "beta_value": "2.5",
            "loss_history_length": "77",
            "repeat_delay_per_epoch": "True",
            "sift_delay": "9",
            "unsifted_share": "0.2",
            "max_percentile": "0.9",
            "weighting": "inverse",
        },
    )
    hyperparameters = read_config(ContainerPaths(tmp_path), {}).hyperparameters
    config = build_sift_config(hyperparameters)
    base = config.loss_based_sift_config.sift_config  # type: ignore[union-attr]
    assert (config.beta_value, config.loss_history_length) == (2.5, 77)
    assert (config.max_percentile, config.weighting) == (0.9, "inverse")
    assert (base.sift_delay, base.repeat_delay_per_epoch) == (9, True)  # type: ignore[union-attr]
    assert base.unsifted_share == 0.2  # type: ignore[union-attr]
    assert base.num_epochs == hyperparameters.epochs  # type: ignore[union-attr]


def test_sifted_batches_are_full_but_for_the_last(tmp_path: Path) -> None:
    loader = make_loader(tmp_path, sift_delay="0", num_images=64)
    epoch = sizes(iter(loader))
    assert epoch[:-1] == [8] * (len(epoch) - 1)
    assert sum(epoch) == loader.num_kept < loader.num_seen == 128


def test_batches_of_two_samples_are_not_taken_for_two_features(tmp_path: Path) -> None:
    loader = make_loader(tmp_path, mini_batch_size="2", sift_delay="4", num_images=8)
    for images, labels in loader:
        assert images.shape[1:] == (3, 8, 8)
        assert len(images) == len(labels)
    assert loader.num_seen == 16


def test_the_summary_counts_the_whole_job(tmp_path: Path) -> None:
    loader = make_loader(tmp_path, beta_value="3", num_images=64, sift_delay="16")
    kept = [sum(sizes(iter(loader))) for _ in range(12)]
    summary = report_of(loader).model_dump()
    assert summary["samples_seen"] == 12 * 128
    assert summary["samples_kept"] == sum(kept)
    assert kept[0] == 128
    assert summary["samples_scored_kept"] == sum(kept[1:])
    assert summary["expected_fraction"] == 0.25
    assert summary["scored_kept_fraction"] == pytest.approx(0.25, abs=0.05)


def test_a_restored_loader_goes_on_as_if_uninterrupted(tmp_path: Path) -> None:
    first = make_loader(tmp_path, sift_delay="0")
    list(first)
    second = make_loader(tmp_path, sift_delay="0")
    second.load_state_dict(first.state_dict())
    for left, right in zip(first, second, strict=True):
        assert torch.equal(left.images, right.images)
    assert report_of(first).samples_kept == report_of(second).samples_kept
