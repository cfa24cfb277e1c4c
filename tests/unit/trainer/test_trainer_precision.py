import pytest
import torch

from sagemaker_sift.trainer.precision import Precision

CPU = torch.device("cpu")


def test_float16_on_the_cpu_trains_in_float32_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    precision = Precision("float16", CPU)
    with precision.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.float32
    assert not precision.is_half
    assert caplog.text.count("precision_dtype is float16, but this job trains on the CPU") == 1


def test_float32_says_nothing_and_has_no_state(caplog: pytest.LogCaptureFixture) -> None:
    precision = Precision("float32", CPU)
    assert precision.state_dict() == {}
    precision.load_state_dict({})
    assert caplog.text == ""


def test_a_step_is_that_of_the_optimizer() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    for _ in range(2):
        Precision("float32", CPU).step((weight * 2).sum(), optimizer)
    assert weight.tolist() == [-1.0]
