from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sagemaker_sift.contract.hyperparameters import Hyperparameters
from sagemaker_sift.trainer.objective import (
    BinaryCrossEntropy,
    CrossEntropy,
    LabelCounts,
    Objective,
    build_objective,
    weigh_answers,
)

HALF = (torch.float16, torch.bfloat16)


def build(counts: LabelCounts | None = None, *, num_classes: int = 3, **changes: Any) -> Objective:
    hp = Hyperparameters(num_classes=num_classes, num_training_samples=100, **changes)
    return build_objective(hp, counts)


def draw_logits(seed: int, rows: int = 5, columns: int = 3) -> torch.Tensor:
    return 3 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-values)))


def test_multi_label_decides_between_the_two_objectives() -> None:
    assert isinstance(build(), CrossEntropy)
    assert isinstance(build(multi_label=1), BinaryCrossEntropy)
    assert build().decisions_per_sample == 1
    assert build(multi_label=1).decisions_per_sample == 3


def test_cross_entropy_is_the_negative_log_of_the_label_s_probability() -> None:
    logits_BK, labels_B = draw_logits(1), torch.tensor([0, 2, 1, 1, 0])
    exponentials = np.exp(logits_BK.double().numpy())
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    objective = CrossEntropy()
    losses_B = objective.losses(logits_BK, labels_B)
    np.testing.assert_allclose(
        losses_B.numpy(), -np.log(probabilities[range(5), labels_B.numpy()]), rtol=1e-5
    )
    np.testing.assert_allclose(
        objective.probabilities(logits_BK).numpy(), probabilities, rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64, torch.bool])
def test_binary_cross_entropy_is_the_mean_over_the_classes(dtype: torch.dtype) -> None:
    logits_BK = draw_logits(2)
    labels_BK = (draw_logits(3) > 0).to(dtype)
    p, y = sigmoid(logits_BK.double().numpy()), labels_BK.double().numpy()
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=1)
    objective = build(multi_label=1)
    np.testing.assert_allclose(objective.losses(logits_BK, labels_BK).numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(objective.probabilities(logits_BK).numpy(), p, rtol=1e-5)


def test_the_gradient_of_multi_label_is_that_of_the_engine() -> None:
    """``LogisticRegressionOutput``: (sigmoid(x) - y) / K."""
    logits_BK = draw_logits(4).requires_grad_()
    labels_BK = (draw_logits(5) > 0).to(torch.uint8)
    build(multi_label=1).losses(logits_BK, labels_BK).sum().backward()
    expected = (sigmoid(logits_BK.detach().double().numpy()) - labels_BK.numpy()) / 3
    assert logits_BK.grad is not None
    np.testing.assert_allclose(logits_BK.grad.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_weighted_loss_counts_rare_answers_for_more() -> None:
    counts = LabelCounts((10, 50, 90), 100)
    logits_BK = draw_logits(6)
    labels_BK = (draw_logits(7) > 0).to(torch.uint8)
    p, y = sigmoid(logits_BK.double().numpy()), labels_BK.double().numpy()
    present, absent = np.array([5, 1, 100 / 180]), np.array([100 / 180, 1, 5])
    expected = -(present * y * np.log(p) + absent * (1 - y) * np.log(1 - p)).mean(axis=1)
    weighted = build(counts, multi_label=1, use_weighted_loss=1)
    np.testing.assert_allclose(weighted.losses(logits_BK, labels_BK).numpy(), expected, rtol=1e-5)
    plain = build(counts, multi_label=1)
    assert not torch.allclose(
        plain.losses(logits_BK, labels_BK), weighted.losses(logits_BK, labels_BK)
    )


def test_over_an_epoch_present_and_absent_weigh_the_same_and_together_as_without() -> None:
    counts = LabelCounts((10, 50, 99), 100)
    absent_K, present_K = weigh_answers(counts)
    positives_K = torch.tensor(counts.positives)
    torch.testing.assert_close(present_K * positives_K, absent_K * (100 - positives_K))
    torch.testing.assert_close(
        present_K * positives_K + absent_K * (100 - positives_K), torch.full((3,), 100.0)
    )


@pytest.mark.parametrize("counts", [LabelCounts((0, 4), 4), LabelCounts((1, 0), 1)])
def test_a_class_that_no_image_or_every_image_shows_has_finite_weights(
    counts: LabelCounts,
) -> None:
    weights_2K = weigh_answers(counts)
    assert torch.isfinite(weights_2K).all()
    assert (weights_2K > 0).all()
    losses_B = BinaryCrossEntropy(2, counts).losses(torch.zeros(1, 2), torch.tensor([[1, 0]]))
    assert torch.isfinite(losses_B).all()


def test_without_counts_a_weighted_loss_is_plain_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logits_BK, labels_BK = draw_logits(8), torch.ones(5, 3)
    with caplog.at_level(logging.WARNING):
        weighted = build(None, multi_label=1, use_weighted_loss=1)
    assert "every class weighs the same" in caplog.text
    torch.testing.assert_close(
        weighted.losses(logits_BK, labels_BK), build(multi_label=1).losses(logits_BK, labels_BK)
    )


def test_a_weighted_loss_without_multi_label_is_cross_entropy() -> None:
    assert isinstance(build(LabelCounts((1, 2, 3), 6), use_weighted_loss=1), CrossEntropy)


def test_counts_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 classes, but `num_classes` is 2"):
        BinaryCrossEntropy(2, LabelCounts((1, 2, 3), 6))


def test_accuracy_of_several_labels_is_counted_element_by_element() -> None:
    objective = build(multi_label=1)
    logits_BK = torch.tensor([[2.0, -1.0, 0.1], [-3.0, 0.0, 5.0]])
    labels_BK = torch.tensor([[1, 0, 0], [1, 0, 1]], dtype=torch.uint8)
    correct = objective.count_correct(logits_BK, labels_BK)
    assert correct.item() == 4  # both of sample 0's first two, sample 1's last two
    assert correct.item() / (len(labels_BK) * objective.decisions_per_sample) == 4 / 6
    assert (correct.dim(), correct.dtype) == (0, torch.int64)


def test_a_class_is_present_above_one_half() -> None:
    objective = build(multi_label=1, num_classes=1)
    logits_B1 = torch.tensor([[-1e-4], [0.0], [1e-4]])
    counts = [
        int(objective.count_correct(logits_B1[idx : idx + 1], torch.ones(1, 1)))
        for idx in range(3)
    ]
    assert counts == [0, 0, 1]


def test_top_k_counts_samples_whose_class_is_among_the_k_likeliest() -> None:
    logits_BK = torch.tensor(
        [[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0], [0.0, 9.0, 1.0, 5.0]]
    )
    labels_B = torch.tensor([0, 2, 0, 3])
    near = [CrossEntropy().count_near(logits_BK, labels_B, k).item() for k in (1, 2, 3, 4)]
    assert near == [1, 2, 3, 4]
    assert CrossEntropy().count_correct(logits_BK, labels_B).item() == 1


def test_top_k_of_several_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="multi_label"):
        build(multi_label=1).count_near(torch.zeros(1, 3), torch.zeros(1, 3), 2)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("multi_label", [0, 1])
def test_the_loss_of_half_precision_logits_is_computed_in_float32(
    dtype: torch.dtype, multi_label: int
) -> None:
    objective = build(multi_label=multi_label)
    logits_BK = draw_logits(9).to(dtype)
    labels = torch.ones(5, 3) if multi_label else torch.tensor([0, 1, 2, 0, 1])
    losses_B = objective.losses(logits_BK, labels)
    assert losses_B.dtype == torch.float32
    assert losses_B.shape == (5,)
    torch.testing.assert_close(losses_B, objective.losses(logits_BK.float(), labels))
    assert objective.probabilities(logits_BK).dtype == torch.float32


@pytest.mark.parametrize("multi_label", [0, 1])
def test_large_logits_give_a_finite_loss(multi_label: int) -> None:
    labels = torch.tensor([[0, 1, 0]]) if multi_label else torch.tensor([1])
    logits_BK = torch.tensor([[60000.0, -60000.0, 0.0]])
    assert torch.isfinite(build(multi_label=multi_label).losses(logits_BK, labels)).all()


def test_weights_follow_the_logits_and_scoring_does_not_spoil_them_for_training() -> None:
    objective = build(LabelCounts((1, 2, 3), 6), multi_label=1, use_weighted_loss=1)
    labels_BK = torch.zeros(2, 3, device="meta")
    with torch.inference_mode():
        objective.losses(torch.zeros(2, 3, device="meta"), labels_BK)
    logits_BK = torch.zeros(2, 3, device="meta", requires_grad=True)
    objective.losses(logits_BK, labels_BK).sum().backward()
    assert logits_BK.grad is not None
