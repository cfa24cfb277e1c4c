import math

import pytest
import torch
from torch import nn

from sagemaker_sift.trainer.data.loader import Batch
from sagemaker_sift.trainer.errors import TrainingError
from sagemaker_sift.trainer.loop import evaluate, train_epoch
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


def make_trainee(model: nn.Module, *, batch_size: int = 2, rate: float = 0.0) -> Trainee:
    return Trainee(
        network=model,
        model=model,
        objective=CrossEntropy(),
        optimizer=torch.optim.SGD(model.parameters(), lr=rate),
        precision=Precision("float32", CPU),
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
