import math

import pytest
import torch
from torch import nn

from sagemaker_sift.trainer import loop
from sagemaker_sift.trainer.data.loader import Batch
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.loop import LossWatch, check_weights, evaluate, train_epoch
from sagemaker_sift.trainer.objective import CrossEntropy
from sagemaker_sift.trainer.precision import Precision
from sagemaker_sift.trainer.ranks import Ranks
from sagemaker_sift.trainer.running_metrics import RunningMetrics
from sagemaker_sift.trainer.trainee import Trainee

CPU = torch.device("cpu")


class Pixel(nn.Module):
    """Logits are the first pixel of each channel, times a weight."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.seen_training: list[bool] = []

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        self.seen_training.append(self.training)
        return image_BCHW[:, :, 0, 0] * self.weight


def make_batch(pixels: list[list[int]], labels: list[int]) -> Batch:
    return Batch(torch.tensor(pixels, dtype=torch.uint8)[:, :, None, None], torch.tensor(labels))


def make_trainee(
    model: nn.Module,
    *,
    batch_size: int = 2,
    rate: float = 0.0,
    precision: Precision | None = None,
) -> Trainee:
    return Trainee(
        network=model,
        model=model,
        objective=CrossEntropy(),
        optimizer=torch.optim.SGD(model.parameters(), lr=rate),
        precision=precision or Precision("float32", CPU),
        device=CPU,
        ranks=Ranks(),
        batch_size=batch_size,
    )


def train(
    model: nn.Module, batches: list[Batch], *, batch_size: int = 2, top_k: int | None = None,
    stop_after: int = 1000, rate: float = 0.0,
) -> RunningMetrics:  # fmt: skip
    steps: list[int] = []

    def after_step(metrics: RunningMetrics) -> bool:
        steps.append(metrics.num_steps)
        return len(steps) >= stop_after

    trainee = make_trainee(model, batch_size=batch_size, rate=rate)
    metrics = RunningMetrics(trainee.objective, device=CPU, top_k=top_k)
    is_complete = train_epoch(trainee, batches, metrics, epoch=3, after_step=after_step)
    assert is_complete == (len(steps) < stop_after)
    return metrics


def test_metrics_are_over_the_samples_of_the_epoch() -> None:
    batches = [
        make_batch([[9, 0, 1], [0, 9, 1]], [0, 2]),
        make_batch([[0, 0, 9], [1, 2, 0]], [2, 0]),
    ]
    metrics = train(Pixel(), batches, top_k=2)
    logits_BK = torch.cat([batch.images for batch in batches])[:, :, 0, 0].float()
    labels_B = torch.tensor([0, 2, 2, 0])
    assert metrics.accuracy == 0.5
    assert metrics.top_k_accuracy == 1.0
    assert metrics.loss == pytest.approx(
        float(nn.functional.cross_entropy(logits_BK, labels_B)), rel=1e-6
    )
    assert (metrics.num_samples, metrics.num_steps) == (4, 2)


def test_an_epoch_without_samples_has_no_accuracy() -> None:
    metrics = train(Pixel(), [])
    assert math.isnan(metrics.accuracy)
    assert metrics.top_k_accuracy is None


def test_a_smaller_batch_moves_the_weights_in_proportion_to_its_size() -> None:
    full, half = Pixel(), Pixel()
    samples = ([[1, 0], [1, 0]], [1, 1])
    train(full, [make_batch(samples[0] * 2, samples[1] * 2)], batch_size=4, rate=0.1)
    train(half, [make_batch(*samples)], batch_size=4, rate=0.1)
    assert 1 - float(half.weight.detach()) == pytest.approx((1 - float(full.weight.detach())) / 2)


def test_a_single_left_over_sample_is_passed_over_unless_batches_are_of_one() -> None:
    lone = [make_batch([[1, 0]], [0])]
    assert train(Pixel(), lone, batch_size=2).num_steps == 0
    assert train(Pixel(), lone, batch_size=1).num_steps == 1


def test_training_ends_after_the_step_in_which_it_is_asked_to_stop() -> None:
    batches = [make_batch([[1, 0], [0, 1]], [0, 1])] * 5
    assert train(Pixel(), batches, stop_after=2).num_steps == 2


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_epoch_batch_and_rate(weight: float) -> None:
    model = Pixel()
    good = make_batch([[1, 0], [0, 1]], [0, 1])

    def batches() -> list[Batch]:
        class Spoiling(list[Batch]):
            def __iter__(self):  # type: ignore[no-untyped-def]
                yield good
                yield good
                with torch.no_grad():
                    model.weight.fill_(weight)
                yield good

        return Spoiling()

    with pytest.raises(
        TrainingError, match=r"loss is nan in epoch 3, batch 2, at learning rate 0\.25\. Use a sm"
    ):
        train(model, batches(), rate=0.25)


def test_evaluation_counts_every_image_once_in_eval_mode() -> None:
    model = Pixel().train()
    batches = [
        make_batch([[9, 0], [0, 9]], [0, 1]),
        make_batch([[9, 0], [0, 9]], [0, 0]),
        make_batch([[9, 0]], [1]),
    ]
    trainee = make_trainee(model)
    assert evaluate(trainee, batches, is_stopping=lambda: False) == pytest.approx(3 / 5)
    assert model.training
    assert model.seen_training == [False] * 3
    nothing = evaluate(trainee, [], is_stopping=lambda: False)
    assert nothing is not None
    assert math.isnan(nothing)


def test_evaluation_that_is_stopped_has_no_result() -> None:
    model = Pixel().train()
    batches = [make_batch([[9, 0]], [0])] * 3
    answers = iter([False, True])
    result = evaluate(make_trainee(model), batches, is_stopping=lambda: next(answers))
    assert result is None
    assert model.training
    assert len(model.seen_training) == 2


def make_half() -> Precision:
    """Return what a GPU has with float16, on the CPU."""
    precision = Precision("float32", CPU)
    precision.is_half = True
    precision._scaler = torch.amp.GradScaler("cpu")
    return precision


class Spoiled(Pixel):
    """Gives logits that are not finite in some of its passes."""

    def __init__(self, spoiled: set[int]) -> None:
        super().__init__()
        self.spoiled = spoiled

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        logits_BK = super().forward(image_BCHW)
        is_spoiled = len(self.seen_training) - 1 in self.spoiled
        return logits_BK * math.inf if is_spoiled else logits_BK


def train_in_half(model: nn.Module, num_batches: int) -> tuple[Trainee, RunningMetrics]:
    trainee = make_trainee(model, rate=0.1, precision=make_half())
    metrics = RunningMetrics(trainee.objective, device=CPU, top_k=None)
    batches = [make_batch([[1, 0], [0, 1]], [1, 0])] * num_batches
    train_epoch(trainee, batches, metrics, epoch=0, after_step=lambda _: False)
    return trainee, metrics


def test_in_half_precision_a_step_that_overflows_is_left_out_and_the_scale_falls() -> None:
    plain, spoiled = Pixel(), Spoiled({1})
    train_in_half(plain, 2)
    trainee, _ = train_in_half(spoiled, 3)
    assert float(spoiled.weight.detach()) == pytest.approx(float(plain.weight.detach()), rel=1e-3)
    assert trainee.precision.state_dict()["scale"] == 2.0**15
    restored = make_half()
    restored.load_state_dict(trainee.precision.state_dict())
    assert restored.state_dict() == trainee.precision.state_dict()


def test_in_half_precision_only_overflow_without_end_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "CHECK_EVERY_ON_GPU", 3)
    train_in_half(Spoiled({0, 1, 3}), 6)
    trainee = make_trainee(Pixel(), precision=make_half())
    watch = LossWatch(trainee, epoch=2)
    watch._check_every = 3
    for step in (1, 2):
        watch.add(torch.tensor(math.nan), step)
    with pytest.raises(TrainingError, match=r"in epoch 2, batch 0, .* precision_dtype float32"):
        watch.add(torch.tensor(math.nan), 3)


def test_in_half_precision_an_epoch_of_nothing_but_overflow_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 0, batch 0"):
        train_in_half(Spoiled(set(range(9))), 9)
    _, metrics = train_in_half(Spoiled({0, 1}), 3)
    assert math.isfinite(metrics.loss)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_on_the_cpu_the_first_loss_that_is_not_finite_ends_training(loss: float) -> None:
    watch = LossWatch(make_trainee(Pixel()), epoch=1)
    watch.add(torch.tensor(3e38), 1)
    with pytest.raises(TrainingError, match=rf"loss is {loss} in epoch 1, batch 1"):
        watch.add(torch.tensor(loss), 2)


def test_weights_that_are_not_finite_are_neither_measured_nor_saved() -> None:
    model = Pixel()
    trainee = make_trainee(model, rate=0.25)
    check_weights(trainee, 4)
    with torch.no_grad():
        model.weight.fill_(math.inf)
    with pytest.raises(
        TrainingError, match=r"no longer finite in epoch 4, at learning rate 0\.25"
    ):
        check_weights(trainee, 4)
