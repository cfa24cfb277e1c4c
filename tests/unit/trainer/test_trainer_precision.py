import pytest
import torch

from sagemaker_sift.trainer import precision as precision_module
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


def multiply(precision: Precision) -> torch.dtype:
    with precision.autocast():
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_bfloat16_is_used_where_the_device_has_it_and_scales_no_loss(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision_module, "has_bfloat16", lambda _device: True)
    precision = Precision("bfloat16", CPU)
    assert multiply(precision) == torch.bfloat16
    assert not precision.is_half
    assert precision.state_dict() == {}
    precision.load_state_dict({"scale": 2.0})
    assert precision.state_dict() == {}
    assert caplog.text == ""
    weight = torch.nn.Parameter(torch.full((1, 1), 3.0))
    with precision.autocast():
        loss = (torch.ones(1, 1) @ weight).sum()
    precision.step(loss, torch.optim.SGD([weight], lr=0.5))
    assert weight.dtype == weight.grad.dtype == torch.float32  # type: ignore[union-attr]
    assert weight.item() == 2.5


def test_bfloat16_elsewhere_trains_in_float32_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision_module, "has_bfloat16", lambda _device: False)
    assert multiply(Precision("bfloat16", CPU)) == torch.float32
    assert "precision_dtype is bfloat16, but this job trains on a CPU without" in caplog.text
    assert caplog.text.count("it trains in float32") == 1


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
