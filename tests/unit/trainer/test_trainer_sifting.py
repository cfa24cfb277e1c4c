import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.nn import functional

from sagemaker_sift.contract.container import ContainerPaths
from sagemaker_sift.contract.sifting_report import SiftingReport
from sagemaker_sift.trainer.config import read_config
from sagemaker_sift.trainer.data import preparation
from sagemaker_sift.trainer.data.loader import Batch, BatchLoader
from sagemaker_sift.trainer.data.preparation import prepare_data
from sagemaker_sift.trainer.loop import to_input
from sagemaker_sift.trainer.model import build_model
from sagemaker_sift.trainer.objective import BinaryCrossEntropy, CrossEntropy
from sagemaker_sift.trainer.precision import Precision
from sagemaker_sift.trainer.ranks import Ranks
from sagemaker_sift.trainer.sifting import (
    ImageBatchTransform,
    LossPerSample,
    SiftedLoader,
    build_sift_config,
)
from sagemaker_sift.trainer.state import pack_state, unpack_state
from sagemaker_sift.trainer.trainee import build_trainee
from smart_sifting._core import fresh_scorer
from smart_sifting.data_model.tensor_batch import TensorBatch
from tests.supports.trainer_data import make_root

CPU = torch.device("cpu")


def make_loader(root: Path, *, num_images: int = 16, **hyperparameters: str) -> SiftedLoader:
    given = {"num_training_samples": str(2 * num_images), "beta_value": "1"}
    given |= {"unsifted_share": "0", "stop_if_slower": "False"}  # tiny images never pay
    given |= hyperparameters
    make_root(root, hyperparameters=given, num_images=num_images)
    return build_loader(root)[1]


def build_loader(root: Path) -> tuple[BatchLoader, SiftedLoader]:
    config = dataclasses.replace(read_config(ContainerPaths(root), {}), num_cpus=1)
    data = prepare_data(config, device=CPU, is_stopping=lambda: False)
    trainee = build_trainee(config.hyperparameters, device=CPU, ranks=Ranks())
    return data.train, SiftedLoader(data.train, trainee, config.hyperparameters)


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


def test_losses_of_the_last_visit_are_those_of_the_image_and_need_no_scoring(
    tmp_path: Path,
) -> None:
    """A loss that tells the class: hardly any image of the class without loss is kept."""
    given = {"sift_delay": "4", "scoring": "last_visit", "max_score_age": "9"}
    make_loader(tmp_path, beta_value="8", **given)
    loader, sifted = build_loader(tmp_path)
    kept = []
    for epoch in range(8):
        loader.set_epoch(epoch)
        for _, labels in sifted:
            sifted.record_losses(labels.float())
            if epoch > 1:
                kept += labels.tolist()
    assert sifted.statistics.samples_scored == 7 * 32
    assert sum(kept) > 0.9 * len(kept) > 10
    assert sifted.statistics.samples_forwarded == 0


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


def through_a_checkpoint(state: dict[str, Any]) -> dict[str, Any]:
    tensors, rest = pack_state(state)
    stored = safetensors.torch.load(safetensors.torch.save(tensors))
    restored: dict[str, Any] = unpack_state(stored, json.loads(json.dumps(rest)))
    return restored


def train(
    loader: BatchLoader, sifted: SiftedLoader, *, num_epochs: int, first: int = 0
) -> Iterator[tuple[Any, ...]]:
    """Yield what each step sees, and the state behind it; few losses are far from zero."""
    for epoch in range(first, num_epochs):
        loader.set_epoch(epoch)
        for images, labels in sifted:
            sifted.record_losses((images.float().mean((1, 2, 3)) * 1000 % 1.0) ** 50)
            yield epoch, images, labels, sifted.weights, sifted.state_dict()


@pytest.mark.parametrize(
    "given",
    [
        {"sift_delay": "0"},
        {"sift_delay": "4", "scoring": "last_visit", "max_score_age": "1"},
        {"sift_delay": "1", "scoring": "plain", "weighting": "inverse", "max_percentile": "0.9"},
        {"mini_batch_size": "64"},
    ],
    ids=["fresh", "last visit", "weights", "automatic start"],
)
def test_a_restored_loader_goes_on_as_if_uninterrupted(
    tmp_path: Path, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_scorer, "find_fast_dtype", lambda device: torch.bfloat16)
    is_auto = "sift_delay" not in given
    make_loader(tmp_path, num_images=64 if is_auto else 16, augmentation_type="crop", **given)
    num_epochs = 19 if is_auto else 6
    whole = build_loader(tmp_path)
    steps = list(train(*whole, num_epochs=num_epochs))
    report = report_of(whole[1])
    assert 0 < report.samples_scored_kept < report.samples_scored
    for moment in range(1, len(steps), len(steps) // 4):
        parts = build_loader(tmp_path)
        parts[1].load_state_dict(through_a_checkpoint(steps[moment][-1]))
        rest = list(train(*parts, num_epochs=num_epochs, first=steps[moment][0]))
        assert len(rest) == len(steps) - moment - 1
        for left, right in zip(rest, steps[moment + 1 :], strict=True):
            assert torch.equal(left[1], right[1])
            assert torch.equal(left[2], right[2])
            assert left[3] is None or torch.equal(left[3], right[3])
        left_report = report_of(parts[1]).model_dump(exclude={"seconds"})
        assert left_report == report.model_dump(exclude={"seconds"}), moment


def test_low_precision_copies_are_used_where_they_rank_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_scorer, "find_fast_dtype", lambda device: torch.bfloat16)
    for dtype in ("float32", "bfloat16"):
        root = tmp_path / dtype
        loader = make_loader(root, num_images=64, sift_delay="0", precision_dtype=dtype)
        for _ in range(2):
            list(loader)
        assert report_of(loader).status.startswith("on, scored by: folded bfloat16 copy"), dtype


@pytest.mark.parametrize("is_stopping", [True, False])
def test_sifting_that_was_switched_off_stays_so_unless_the_job_says_otherwise(
    tmp_path: Path, is_stopping: bool
) -> None:
    loader = make_loader(tmp_path, sift_delay="0", stop_if_slower=str(is_stopping))
    state = loader.state_dict()
    state["schedule"]["is_switched_off"] = True
    loader.load_state_dict(state)
    list(loader)
    assert (report_of(loader).samples_scored == 0) == is_stopping


def test_the_status_is_logged_once_for_every_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loader = make_loader(
        tmp_path, sift_delay="4", epochs="5", unsifted_share="0.4", scoring="plain"
    )
    with caplog.at_level("INFO", "sagemaker_sift"):
        for _ in range(5):
            list(loader)
            loader.log_status()
    assert [record.getMessage() for record in caplog.records if "Sifting" in record.msg] == [
        "Sifting: on, scored by: plain",
        "Sifting: over: the last epochs pass unsifted",
    ]


class Unnumbered:
    """A loader whose images have no number, as those of a pipe."""

    has_sample_ids = False
    sample_ids = None

    def __init__(self, loader: BatchLoader) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)

    def __len__(self) -> int:
        return len(self.loader)


def test_without_numbers_the_last_visit_gives_way_to_fresh_scoring(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_loader(tmp_path, sift_delay="0", scoring="last_visit")
    config = dataclasses.replace(read_config(ContainerPaths(tmp_path), {}), num_cpus=1)
    data = prepare_data(config, device=CPU, is_stopping=lambda: False)
    trainee = build_trainee(config.hyperparameters, device=CPU, ranks=Ranks())
    loader = SiftedLoader(Unnumbered(data.train), trainee, config.hyperparameters)  # type: ignore[arg-type]  # as far as sifting reads it
    for _ in range(2):
        for _, labels in loader:
            loader.record_losses(torch.ones(len(labels)))
    assert loader.statistics.samples_forwarded == loader.statistics.samples_scored == 64
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage().partition(",")[0] for record in warnings] == [
        "scoring is last_visit"
    ]


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_image_keeps_its_number_though_others_cannot_be_read(
    tmp_path: Path, in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "MAX_WORKERS", 0)
    given = {"sift_delay": "0", "scoring": "last_visit", "max_corrupt_fraction": "0.5"}
    make_loader(tmp_path, **given)
    folder = tmp_path / "input/data/train/class0"
    for name in ("0003.jpg", "0011.jpg"):
        (folder / name).write_bytes(b"no image")
    config = read_config(ContainerPaths(tmp_path), {})
    budget = config.decoded_budget_bytes if in_memory else 0
    config = dataclasses.replace(config, num_cpus=1, decoded_budget_bytes=budget)
    data = prepare_data(config, device=CPU, is_stopping=lambda: False)
    trainee = build_trainee(config.hyperparameters, device=CPU, ranks=Ranks())
    loader = SiftedLoader(data.train, trainee, config.hyperparameters)
    found: dict[int, bytes] = {}
    for epoch in range(3):
        data.train.set_epoch(epoch)
        for batch in data.train:
            assert data.train.sample_ids is not None
            assert len(data.train.sample_ids) == len(batch.images)
            for number, image in zip(data.train.sample_ids.tolist(), batch.images, strict=True):
                assert found.setdefault(number, image.numpy().tobytes()) == image.numpy().tobytes()
        for _, labels in loader:
            loader.record_losses(torch.ones(len(labels)))
    assert len(found) == 30
    assert 30 <= loader.statistics.samples_forwarded < loader.statistics.samples_scored


def test_losses_of_several_labels_are_one_number_a_sample() -> None:
    objective = BinaryCrossEntropy(3)
    model = build_model(20, (3, 8, 8), 3).eval()
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.uint8)
    batch = TensorBatch(images, labels)
    losses = LossPerSample(objective, Precision("float32", CPU)).loss(model, batch)
    torch.testing.assert_close(losses, objective.losses(model(to_input(images)), labels))
    assert losses.shape == (4,)
